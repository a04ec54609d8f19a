#!/usr/bin/env bash
# units-more.sh - the services that tests/units.sh does not run by default; also on the tier vrf
exec env VRFBIND_TEST_DAEMONS=daemons-more "$(dirname -- "$0")/units.sh" chrony ntpsec pdns-recursor haproxy kea-dhcp4-server \
	postgresql bird rsyslog
