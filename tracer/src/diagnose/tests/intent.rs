//! Which CNI a node seems to run.

use super::build::Lab;
use crate::{
    diagnose::{Intent, Mode, guess_cni},
    inventory::{LinkKind, Role},
};

fn with(devices: &[&str]) -> Lab {
    devices.iter().fold(Lab::new(), |lab, name| {
        let kind = match *name {
            n if n.starts_with("tun-") => LinkKind::Tunnel {
                kind: "ipip".into(),
                local: None,
                remote: None,
            },
            _ => LinkKind::Other("dummy".into()),
        };
        lab.dev(name, Role::Other, kind, &[])
    })
}

#[test]
fn devices_suggest_a_cni() {
    for (devices, name) in [
        (&["cilium_host", "lxc1234"][..], "Cilium"),
        (&["cilium_geneve"], "Cilium"),
        (&["flannel.1", "cni0"], "flannel"),
        (&["cali1234", "tunl0"], "Calico"),
        (&["vxlan.calico"], "Calico"),
        (&["kube-bridge"], "kube-router"),
        (&["tun-10a1b2c3"], "kube-router"),
        (&["ovn0"], "Kube-OVN"),
    ] {
        let guess = guess_cni(&with(devices).inventory).expect(name);
        assert_eq!(guess.name, name);
        assert!(guess.why.contains(devices[0]), "{}", guess.why);
    }
}

#[test]
fn the_aws_cni_takes_a_device_and_its_rules() {
    let eni = with(&["eni8ea2c11fe35"]);
    assert_eq!(guess_cni(&eni.inventory), None);
    let guess = guess_cni(&eni.rule(512, None, 254).inventory).expect("AWS");
    assert_eq!(guess.why, "device eni8ea2c11fe35, rules 512");
}

#[test]
fn ordinary_devices_suggest_nothing() {
    assert_eq!(
        guess_cni(&with(&["eth0", "docker0", "br-lan", "tun0"]).inventory),
        None
    );
    assert_eq!(guess_cni(&Lab::new().inventory), None);
}

#[test]
fn an_unknown_intent_says_so() {
    assert_eq!(Intent::UNKNOWN.mode, Mode::Unknown);
    assert_eq!(Intent::UNKNOWN.source.to_string(), "not known");
    assert_eq!(*Intent::UNKNOWN, Intent::default());
}
