//! Tenants with the same addresses on one device, where nothing in the packet says whose it is.

use anyhow::{Context as _, Result, ensure};
use harness::traffic::{Echo, Udp};
use harness::{Topology, Tracer, expect};
use serde_json::{Value, json};

use crate::tunnel::{carries, device, nodes, wrapped};

/// Pod `here` of a tenant on its node, and the tenant's table there.
fn tenant(lab: Topology, (name, vni): (&str, u32), (here, there): (u8, u8)) -> Topology {
    let (node, pod) = (&format!("n{here}"), &format!("{name}{here}"));
    let (host, far) = (&format!("h-{pod}"), &format!("02:77:00:00:00:0{there}"));
    let table = format!("table {vni}");
    let encap = format!("encap ip id {vni} dst 10.0.0.{there} ttl 64 dev vx0 {table}");
    lab.ns(&[pod])
        .veth((node.as_str(), host.as_str()), (pod.as_str(), "eth0"))
        .ip(
            node,
            &format!("addr add 169.254.1.1/32 dev {host} scope link"),
        )
        .ip(node, &format!("addr add fe80::1/64 dev {host} nodad"))
        .addr(pod, "eth0", &[&format!("10.16.0.{here}/32")])
        .ip(pod, &format!("addr add fd16::{here}/128 dev eth0 nodad"))
        .route(pod, "169.254.1.1 dev eth0 scope link")
        .route(pod, "default via 169.254.1.1 dev eth0")
        .route(pod, "default via fe80::1 dev eth0")
        .neigh(node, "vx0", &format!("10.16.0.{there}"), far)
        .neigh(node, "vx0", &format!("fd16::{there}"), far)
        .rule(node, &format!("iif {host} {table}"))
        .rule(node, &format!("tun_id {vni} {table}"))
        .ip6(node, &format!("rule add iif {host} {table}"))
        .ip6(node, &format!("rule add tun_id {vni} {table}"))
        .route(
            node,
            &format!("10.16.0.{here} dev {host} scope link {table}"),
        )
        .route(node, &format!("fd16::{here} dev {host} {table}"))
        .route(node, &format!("10.16.0.{there} {encap}"))
        .route(node, &format!("fd16::{there} {encap}"))
}

fn tenants() -> Topology {
    [("a", 100), ("b", 200)]
        .into_iter()
        .flat_map(|name| [(name, (1, 2)), (name, (2, 1))])
        .fold(device(nodes("tmd", 2), "external"), |lab, (name, at)| {
            tenant(lab, name, at)
        })
        .reach("a1", "10.16.0.2")
        .reach("b1", "10.16.0.2")
        .reach("a1", "fd16::2")
        .reach("b1", "fd16::2")
}

/// Tenants a (VNI 100) and b (VNI 200) use the same addresses and ports, through
/// one collect-metadata device. Rules by tunnel key keep them apart where packets arrive.
#[test]
fn two_tenants_on_one_collect_metadata_device() -> Result<()> {
    let network = tenants().raise()?;
    let mut echoes = Vec::new();
    for pod in ["a2", "b2"] {
        for address in ["10.16.0.2", "fd16::2"] {
            echoes.extend(Echo::both(network.ns(pod)?, address.parse()?)?);
        }
    }
    let args = ["check", "-o", "json", "--for", "1h", "udp port 7"];
    let tracer = Tracer::start(network.ns("n1")?, &args)?;
    let all = [("a", 100_u32, 3_u32), ("b", 200, 5)];
    for (tenant, _, count) in all {
        for to in ["10.16.0.2:7", "[fd16::2]:7"] {
            let sent = Udp::to(to)
                .sport(5555)
                .count(count)
                .send(network.ns(&format!("{tenant}1"))?)?;
            ensure!(sent.delivered(), "tenant {tenant}: {sent}");
        }
    }
    let report = tracer
        .interrupt(std::time::Duration::from_secs(20))?
        .json()?;
    println!("{}", harness::brief::brief(&report));
    expect::no_loss(&report)?;
    for tenant in all {
        for src in ["10.16.0.1", "fd16::1"] {
            own_way(&report, src, tenant)
                .with_context(|| format!("tenant {} from {src}", tenant.0))?;
        }
    }
    Ok(())
}

/// Requires both directions of a tenant's flow, with its VNI wherever it is.
fn own_way(report: &Value, src: &str, (tenant, vni, count): (&str, u32, u32)) -> Result<()> {
    let (pod, count) = (format!("h-{tenant}1"), u64::from(count));
    let wanted = json!({"proto": "udp", "src": src, "sport": 5555, "scope": {"dev": pod}});
    let flow = expect::flow(report, &wanted)?;
    expect::path(
        flow,
        &[
            carries(&pod, "in", count, None),
            expect::route(&json!({"table": vni, "dev": "vx0"})),
            carries("vx0", "out", count, Some(vni)),
            expect::route(&json!({"dev": "eth0", "matched": "10.0.0.0/24"})),
            wrapped("eth0", "out", count, (vni, "10.0.0.1", "10.0.0.2")),
        ],
    )?;
    let reply = expect::reply(flow)?;
    expect::is(reply, &json!({"packets": count, "outcome": "forwarded"}))?;
    expect::path(
        reply,
        &[
            wrapped("eth0", "in", count, (vni, "10.0.0.2", "10.0.0.1")),
            carries("vx0", "in", count, Some(vni)),
            expect::route(&json!({"table": vni, "dev": pod})),
            carries(&pod, "out", count, Some(vni)),
        ],
    )?;
    Ok(())
}
