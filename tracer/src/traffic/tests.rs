use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use super::*;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn order(kind: Kind, count: u32) -> Order {
    Order {
        to: HOME,
        kind,
        count,
        interval: Duration::from_millis(1),
        size: None,
        netns: None,
    }
}

fn finished(order: Order) -> Sent {
    let sender = Sender::start(order);
    let end = Instant::now() + Duration::from_secs(20);
    while !sender.is_done() && Instant::now() < end {
        thread::sleep(TICK);
    }
    sender.stop()
}

#[test]
fn a_server_gets_as_many_as_were_ordered_and_they_have_the_size() {
    let server = UdpSocket::bind((HOME, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    server
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let echo = thread::spawn(move || {
        let mut sizes = Vec::new();
        let mut buffer = [0; 4096];
        // longer than the sender waits, so that one too many would be seen
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if let Ok((n, peer)) = server.recv_from(&mut buffer) {
                sizes.push(n);
                server.send_to(&buffer[..n], peer).unwrap();
            }
        }
        sizes
    });
    let sent = finished(Order {
        size: Some(1000),
        ..order(Kind::Udp(port), 4)
    });
    assert_eq!((sent.packets, sent.answers), (4, 4), "{sent:?}");
    assert_eq!(echo.join().unwrap(), [972; 4]);
}

#[test]
fn a_closed_port_comes_back_as_an_error() {
    let port = {
        let socket = UdpSocket::bind((HOME, 0)).unwrap();
        socket.local_addr().unwrap().port()
    };
    let sent = finished(order(Kind::Udp(port), 2));
    assert_eq!((sent.packets, sent.answers), (2, 0), "{sent:?}");
    assert!(sent.errors.contains_key("ECONNREFUSED"), "{sent:?}");
    assert!(sent.refused.is_empty(), "{sent:?}");
}

#[test]
fn each_attempt_to_connect_is_one_connection() {
    let server = TcpListener::bind((HOME, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let sent = finished(order(Kind::Tcp(port), 3));
    assert_eq!((sent.packets, sent.answers), (3, 3), "{sent:?}");
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.incoming().map_while(Result::ok).count(), 3);
}

#[test]
fn stopping_early_sends_no_more() {
    let server = UdpSocket::bind((HOME, 0)).unwrap();
    let sender = Sender::start(Order {
        interval: Duration::from_mins(1),
        ..order(Kind::Udp(server.local_addr().unwrap().port()), 100)
    });
    server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    server.recv(&mut [0; 64]).unwrap();
    let begun = Instant::now();
    assert_eq!(sender.stop().packets, 1);
    assert!(begun.elapsed() < Duration::from_secs(10));
}
