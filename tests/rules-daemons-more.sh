#!/usr/bin/env bash
# rules-daemons-more.sh - the daemons that tests/rules-daemons.sh does not run by default; also on the tier vrf
exec env VRFBIND_TEST_DAEMONS=daemons-rules "$(dirname -- "$0")/rules-daemons.sh" chronyd haproxy rsyslogd \
	systemd-resolved libc-resolved pdns-recursor java
