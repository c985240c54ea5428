use super::*;
use crate::{
    cli::output::tests::{Page, page},
    event::{Body, Dir, HopKey, PacketSample},
    model::{Flow, Outcome},
    pipeline::SessionEnd,
    view::fixture::{self, ETH0, ETH1, HOME, LXC, at},
};

fn ready() -> Ready {
    Ready {
        inventory: Arc::new(fixture::inventory()),
        wall_offset_ns: fixture::clock().offset_ns.cast_unsigned(),
        started: fixture::START,
        limits: vec![],
        devices: 4,
        intent: crate::diagnose::Intent::default(),
    }
}

struct Session {
    lines: Lines,
    page: Page,
    flow: ControlFlow<()>,
}

impl Session {
    fn new(format: Format, options: &Options, packets: bool, filter: &str) -> Self {
        let (out, page) = page(format);
        let mut lines = Lines::new(options, packets, Filter::parse(filter).unwrap(), out);
        let flow = lines.on_event(PipelineEvent::Ready(&ready()));
        // as if the machine were in UTC
        lines.clock.zone = None;
        Self { lines, page, flow }
    }

    fn see(&mut self, ms: u64, flows: Vec<Flow>) {
        let snapshot = Arc::new(Snapshot {
            at: at(ms),
            ..fixture::snapshot(flows)
        });
        self.flow = self.lines.on_event(PipelineEvent::Snapshot(&snapshot, &[]));
    }

    fn packet(&mut self, dev: crate::event::Ifindex) {
        let tuple = fixture::udp();
        let key = HopKey {
            tuple,
            encap: None,
            netns: HOME,
            dev,
            dir: Dir::In,
            in_dev: None,
            tunnel_key: None,
        };
        let p = PacketSample {
            key,
            len: 142,
            segs: 1,
            tcp_flags: 0,
            ip_id: 7,
        };
        let event = Event {
            at: at(3),
            body: Body::Packet(p),
        };
        self.flow = self.lines.on_event(PipelineEvent::Event(&event));
    }

    fn finish(self, flows: Vec<Flow>) -> String {
        let end = SessionEnd {
            ready: ready(),
            inventory: Arc::new(fixture::inventory()),
            snapshot: Arc::new(fixture::snapshot(flows)),
            findings: vec![],
            ended: pipeline::Ended::Time,
        };
        self.lines.finish(&end).unwrap();
        self.page.text()
    }
}

fn two() -> Vec<Flow> {
    let mut tcp = fixture::tunnelled(Outcome::Forwarded(ETH0));
    tcp.id.tuple.proto = crate::event::Proto::TCP;
    vec![fixture::dropped(), tcp]
}

#[test]
fn flows_and_drops_as_lines() {
    let mut s = Session::new(Format::Text, &Options::default(), false, "");
    s.see(100, two());
    s.see(200, two());
    insta::assert_snapshot!(s.finish(two()), @r"
    05:00:00.001000 new   udp 10.244.1.10:40000 > 10.244.2.20:7: lxc-p1 → ✗
    05:00:02.001000 drop  udp 10.244.1.10:40000 > 10.244.2.20:7: dropped 3: IP_OUTNOROUTES at ip6_forward (no route to destination), dev lxc-p1
    05:00:00.001000 new   tcp 10.244.1.10:40000 > 10.244.2.20:7: lxc-p1 → [main: dev vx0, lookup] → vx0 ⟦vxlan 42 192.0.2.1 > 192.0.2.2⟧ → eth0
    ");
}

#[test]
fn what_the_filter_leaves_out_is_not_told() {
    let s = Session::new(Format::Text, &Options::default(), false, "tcp");
    let text = s.finish(two());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(" new   tcp "));
}

#[test]
fn json_lines_begin_with_ready_and_end_with_end() {
    let mut s = Session::new(Format::Json, &Options::default(), true, "udp");
    s.packet(LXC);
    let text = s.finish(two());
    let types: Vec<String> = text
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap())
        .map(|v| {
            assert_eq!(v["schema"], "tracer.watch/1");
            v["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(types, ["ready", "packet", "flow", "drop", "end"]);
    let end: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&end["packets"], &end["drops"]), (&3.into(), &3.into()));
}

#[test]
fn packets_only_when_asked_for_and_matching() {
    let mut s = Session::new(Format::Text, &Options::default(), true, "dev ens6");
    s.packet(LXC);
    s.packet(ETH1);
    let text = s.finish(vec![]);
    assert_eq!(
        text,
        "05:00:00.003000 ens6     In  IP 10.244.1.10.40000 > 10.244.2.20.7: udp, length 142\n"
    );
    let mut s = Session::new(Format::Text, &Options::default(), false, "");
    s.packet(ETH1);
    assert_eq!(s.finish(vec![]), "");
}

#[test]
fn it_stops_after_so_many_lines() {
    let options = Options {
        count: Some(2),
        ..Options::default()
    };
    let mut s = Session::new(Format::Text, &options, true, "");
    s.packet(LXC);
    assert_eq!(s.flow, ControlFlow::Continue(()));
    s.packet(LXC);
    assert_eq!(s.flow, ControlFlow::Break(()));
    s.packet(LXC);
    assert_eq!(s.finish(two()).lines().count(), 2);
}

#[test]
fn a_write_error_ends_it_and_is_told() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut s = Session::new(Format::Text, &Options::default(), false, "");
    s.lines.out.stdout = io::BufWriter::new(Box::new(Full));
    s.see(100, two());
    s.see(200, two());
    assert_eq!(s.flow, ControlFlow::Break(()));
    let e = s.lines.failed.unwrap();
    assert_eq!(e.kind(), io::ErrorKind::BrokenPipe);
}
