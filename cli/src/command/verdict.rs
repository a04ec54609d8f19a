//! Whether a socket is where it belongs: in the VRF, or where the rule says that it comes under.

use crate::output::text;
use crate::process::sockets::{Device, Reader, Socket, Vrf};
use crate::process::{Process, Rules};
use crate::values::Verdict;
use rules::list::{Match, To};
use rules::{DEFAULT, DeviceName};

impl Verdict {
    /// Where nobody says which VRF it should be, any will do.
    fn on(device: &Device, wanted: Option<&str>) -> Self {
        let is_at_home = wanted == Some(DEFAULT);
        match device {
            Device::Deleted => Self::DeviceDeleted,
            Device::Unknown => Self::Unknown,
            Device::None if is_at_home => Self::Ok,
            Device::None => Self::Unbound,
            Device::Bound(name, _) if wanted == Some(name) => Self::Ok,
            Device::Bound(_, Vrf::Unknown) => Self::Unknown,
            Device::Bound(_, Vrf::None) if is_at_home => Self::Ok,
            Device::Bound(_, Vrf::None) => Self::NoVrf,
            Device::Bound(_, Vrf::Name(vrf)) => match wanted {
                Some(wanted) if wanted != vrf => Self::WrongVrf,
                _ => Self::Ok,
            },
        }
    }

    /// `loopback`: the name of the loopback device.
    fn by_rule(device: &Device, to: To, vrf: &str, loopback: &str) -> Self {
        match to {
            To::Device(name) => Self::on(device, Some(&text(name.as_bytes()))),
            To::Lo => Self::on(device, Some(loopback)),
            // Nobody knows which of the two it was when the socket was moved.
            To::LoUnlessInVrf => match Self::on(device, Some(vrf)) {
                Self::Ok => Self::Ok,
                _ => Self::on(device, Some(loopback)),
            },
            To::Default => match (device, Self::on(device, Some(DEFAULT))) {
                (Device::Bound(..), Self::Ok) => Self::WrongVrf,
                (_, verdict) => verdict,
            },
        }
    }
}

/// By what the sockets of a process are judged.
pub struct Judge<'a> {
    process: &'a Process,
    /// The VRF, by its own name.
    pub vrf: Option<String>,
    rules: Option<&'a Rules>,
    loopback: String,
}

impl<'a> Judge<'a> {
    /// `vrf`: the VRF that the process asks for, or another one.
    pub fn of(process: &'a Process, vrf: Option<&str>, reader: &mut Reader) -> Self {
        Self {
            process,
            vrf: vrf.map(|vrf| reader.name_of(&process.directory, vrf)),
            rules: process.rules.as_ref(),
            loopback: reader.loopback(&process.directory),
        }
    }

    /// The verdict on each of its sockets, and the socket's rule.
    pub fn verdicts(
        &self,
        sockets: &mut [Socket],
        reader: &mut Reader,
    ) -> Vec<(Verdict, Option<Match>)> {
        let Some(rules) = self.rules else {
            let on = |socket: &Socket| Verdict::on(&socket.device, self.vrf.as_deref());
            return sockets.iter().map(|socket| (on(socket), None)).collect();
        };
        let listeners: Vec<_> = sockets
            .iter()
            .map(|socket| reader.listener(&self.process.directory, socket, sockets))
            .collect();
        for (socket, listener) in sockets.iter_mut().zip(listeners) {
            socket.seen.listener = listener;
        }
        sockets
            .iter()
            .map(|socket| self.by(rules, socket, reader))
            .collect()
    }

    fn by(&self, rules: &Rules, socket: &Socket, reader: &mut Reader) -> (Verdict, Option<Match>) {
        let device = &socket.device;
        let vrf = self.vrf.as_deref().unwrap_or(DEFAULT);
        let mut of = |to: To| {
            let to = match to {
                To::Device(name) => To::Device(self.own_name(name, reader)),
                to => to,
            };
            Verdict::by_rule(device, to, vrf, &self.loopback)
        };
        let under = rules.list.under(&socket.seen);
        let verdict = match under.rule {
            Some(rule) => of(rule.to),
            None => Verdict::on(device, Some(vrf)),
        };
        let mut may_be_there = || {
            let by_others =
                !under.is_certain && rules.list.rules().any(|rule| of(rule.to()) == Verdict::Ok);
            let in_vrf = Verdict::on(device, Some(vrf)) == Verdict::Ok;
            by_others || in_vrf && (!under.is_certain || is_own_choice(rules, device, vrf))
        };
        if verdict != Verdict::Ok && may_be_there() {
            return (Verdict::Ok, None);
        }
        (verdict, under.rule)
    }

    /// The own name of a device that a rule names by an alternative name.
    fn own_name(&self, name: DeviceName, reader: &mut Reader) -> DeviceName {
        let own = reader.name_of(&self.process.directory, &text(name.as_bytes()));
        DeviceName::new(own.as_bytes()).unwrap_or(name)
    }
}

/// Whether the program itself has put a socket on this device of its VRF, which is no rule's: there it stays.
fn is_own_choice(rules: &Rules, device: &Device, vrf: &str) -> bool {
    let name = |name: &str| DeviceName::new(name.as_bytes()).ok();
    let Device::Bound(device, _) = device else {
        return false;
    };
    let (device, vrf) = (name(device), name(vrf));
    device
        .zip(vrf)
        .is_some_and(|(device, vrf)| !rules.list.can_have_put_on(&vrf, &device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(name: &str, vrf: Option<&str>) -> Device {
        Device::Bound(
            name.to_owned(),
            vrf.map_or(Vrf::None, |vrf| Vrf::Name(vrf.to_owned())),
        )
    }

    #[test]
    fn a_socket_is_judged_by_its_device_and_that_devices_vrf() {
        let (blue, bridge) = (on("blue", Some("blue")), on("br-blue", Some("blue")));
        let hidden = Device::Bound("br-blue".to_owned(), Vrf::Unknown);
        for (device, wanted, verdict) in [
            (&Device::None, Some("blue"), Verdict::Unbound),
            (&Device::None, None, Verdict::Unbound),
            (&Device::None, Some("default"), Verdict::Ok),
            (&blue, Some("blue"), Verdict::Ok),
            (&blue, None, Verdict::Ok),
            (&blue, Some("red"), Verdict::WrongVrf),
            (&blue, Some("br-blue"), Verdict::WrongVrf),
            (&blue, Some("default"), Verdict::WrongVrf),
            (&bridge, Some("blue"), Verdict::Ok),
            (&bridge, Some("br-blue"), Verdict::Ok),
            (&bridge, Some("red"), Verdict::WrongVrf),
            (&on("lo", None), Some("blue"), Verdict::NoVrf),
            (&on("lo", None), None, Verdict::NoVrf),
            (&on("lo", None), Some("lo"), Verdict::Ok),
            (&on("lo", None), Some("default"), Verdict::Ok),
            (&hidden, Some("blue"), Verdict::Unknown),
            (&hidden, Some("br-blue"), Verdict::Ok),
            (&Device::Deleted, Some("blue"), Verdict::DeviceDeleted),
            (&Device::Unknown, Some("blue"), Verdict::Unknown),
        ] {
            assert_eq!(
                Verdict::on(device, wanted),
                verdict,
                "{device:?}, {wanted:?}"
            );
        }
    }

    #[test]
    fn a_rule_says_where_a_socket_belongs() {
        let (blue, red) = (on("blue", Some("blue")), on("red", Some("red")));
        let (lo, lonely) = (on("lo", None), on("mgmt", None));
        let to = |name: &str| To::Device(DeviceName::new(name.as_bytes()).unwrap());
        for (device, rule, verdict) in [
            (&red, to("red"), Verdict::Ok),
            (&blue, to("red"), Verdict::WrongVrf),
            (&lonely, to("mgmt"), Verdict::Ok),
            (&Device::None, to("mgmt"), Verdict::Unbound),
            (&Device::Deleted, to("mgmt"), Verdict::DeviceDeleted),
            (&lo, To::Lo, Verdict::Ok),
            (&blue, To::Lo, Verdict::WrongVrf),
            (&Device::None, To::Lo, Verdict::Unbound),
            (&lo, To::LoUnlessInVrf, Verdict::Ok),
            (&blue, To::LoUnlessInVrf, Verdict::Ok),
            (&red, To::LoUnlessInVrf, Verdict::WrongVrf),
            (&Device::None, To::LoUnlessInVrf, Verdict::Unbound),
            (&Device::None, To::Default, Verdict::Ok),
            (&lo, To::Default, Verdict::WrongVrf),
            (&blue, To::Default, Verdict::WrongVrf),
        ] {
            let found = Verdict::by_rule(device, rule, "blue", "lo");
            assert_eq!(found, verdict, "{device:?}, {rule:?}");
        }
    }
}
