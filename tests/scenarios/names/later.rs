//! Pods that come while tracer runs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::kubelet::{Driver, uid};
use harness::traffic::Udp;
use harness::{Network, deadline, expect};
use serde_json::json;

use super::{Cluster, LIMIT, flow};

/// Gives the waiting namespace a pod's device, as a CNI does before the first process starts.
fn attach(network: &Network) -> Result<()> {
    let (node, late) = (network.ns("n1")?, network.ns("late")?);
    for line in [
        format!(
            "link add lxc-late type veth peer name eth0 netns {}",
            late.name()
        ),
        "addr add 169.254.1.1/32 dev lxc-late scope link".to_owned(),
        "link set lxc-late up".to_owned(),
        "route add 10.244.1.30 dev lxc-late scope link".to_owned(),
    ] {
        let mut argv = vec!["ip"];
        argv.extend(line.split(' '));
        node.exec(&argv)?;
    }
    for line in [
        "link set eth0 up",
        "addr add 10.244.1.30/32 dev eth0",
        "route add 169.254.1.1 dev eth0 scope link",
        "route add default via 169.254.1.1 dev eth0",
    ] {
        let mut argv = vec!["ip"];
        argv.extend(line.split(' '));
        late.exec(&argv)?;
    }
    Ok(())
}

/// Its first packets leave before anybody knows its name, and are counted.
#[test]
fn a_filter_waits_for_a_pod() -> Result<()> {
    let mut cluster = Cluster::raise()?;
    let tracer = cluster.start(&["check", "-o", "json", "--for", "1h", "pod shop/late-0"])?;
    // no pod of that name: what others send is not in the answer
    cluster.send(super::DB)?;
    attach(&cluster.network)?;
    let late = cluster.network.ns("late")?.clone();
    let send = || {
        Udp::to("10.244.2.20:7")
            .sport(40_000)
            .wait(Duration::from_secs(1))
            .send(&late)
    };
    let early = send()?;
    ensure!(early.delivered(), "{early}");
    cluster.kubelet.start(&late, Driver::Systemd, 8)?;
    cluster.kubelet.log("shop", "late-0", 8)?;
    // beyond the time in which its name is found
    std::thread::sleep(Duration::from_secs(2));
    let sent = send()?;
    ensure!(sent.delivered(), "{sent}");
    let report = tracer.interrupt(LIMIT)?.expect_code(0)?.json()?;
    expect::no_loss(&report)?;
    let flows = report["flows"].as_array().map_or(0, Vec::len);
    ensure!(flows == 1, "{report}");
    let name = json!({"kind": "pod", "namespace": "shop", "name": "late-0", "id": uid(8)});
    expect::is(
        flow(&report, super::FAR)?,
        &json!({"src": "10.244.1.30", "packets": 6, "names": {"src": name}}),
    )
}

/// A pod whose device, process and log directory come in this order gets its name without any change
/// of the network.
#[test]
fn a_name_is_asked_for_again() -> Result<()> {
    let mut cluster = Cluster::raise()?;
    let tracer = cluster.start(&["watch", "-o", "json", "host", "10.244.1.30"])?;
    attach(&cluster.network)?;
    let late = cluster.network.ns("late")?.clone();
    let named = || -> Result<bool> {
        // whether they are answered does not matter: they are seen
        let _sent = Udp::to("10.244.2.20:7")
            .wait(Duration::from_millis(200))
            .send(&late)?;
        Ok(tracer.stdout().contains("\"name\":\"late-1\""))
    };
    ensure!(!named()?, "it has no process yet");
    cluster.kubelet.start(&late, Driver::Cgroupfs, 10)?;
    ensure!(!named()?, "it has no log directory yet");
    cluster.kubelet.log("shop", "late-1", 10)?;
    let begun = Instant::now();
    deadline::wait_for("the name", Duration::from_secs(15), || {
        Ok(named()?.then_some(()))
    })?;
    println!(
        "named {:?} after its log directory was there",
        begun.elapsed()
    );
    drop(tracer.interrupt(LIMIT)?);
    Ok(())
}
