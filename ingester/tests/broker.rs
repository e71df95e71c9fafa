//! The broker consumer against a broker that misbehaves on purpose: it cuts mid-burst, forgets sessions,
//! renumbers, sends packets over the limit, and closes while acknowledgements are still on their way. Each story in
//! MQTT 3.1.1 and in MQTT 5.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "broker/peer.rs"]
mod peer;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use lampguard_ingester::config::Protocol;
use lampguard_ingester::intake::Mapping;
use lampguard_ingester::profile::Profiles;
use lampguard_model::Millis;
use peer::{
    BOTH, NOW, Peer, Site, run, start_with, stored, wait_for, with_full_disk, with_site, with_site_in,
    with_site_of,
};

#[test]
fn acknowledgements_leave_in_the_order_of_arrival_and_after_the_commit() {
    with_site(|site| {
        let mut peer = Peer::accept(site, false);
        for pkid in 1..=500 {
            peer.publish(pkid, u64::from(pkid));
        }
        assert_eq!(peer.acks(500), (1..=500).collect::<Vec<u16>>());
        assert_eq!(stored(site), 500);
    });
}

#[test]
fn peer_p5_no_acknowledgement_of_an_old_connection_leaves_on_the_new_one() {
    for session_present in [true, false] {
        with_site(|site| {
            // A burst, and the connection goes while its acknowledgements are under way.
            let mut peer = Peer::accept(site, false);
            for pkid in 1..=300 {
                peer.publish(pkid, u64::from(pkid));
            }
            drop(peer);
            // The new connection gives the same packet ids to other readings, as a broker may.
            let mut peer = Peer::accept(site, session_present);
            peer.0.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            assert_eq!(
                peer.acks(1),
                Vec::<u16>::new(),
                "nothing was sent yet, so nothing may be acknowledged"
            );
            peer.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for pkid in 1..=300u16 {
                peer.publish(pkid, 1000 + u64::from(pkid));
            }
            assert_eq!(peer.acks(300), (1..=300).collect::<Vec<u16>>());
            let losses = site.ingester.losses().list();
            assert_eq!(
                losses.iter().filter(|loss| loss.source == "broker:test").count(),
                usize::from(!session_present)
            );
        });
    }
}

#[test]
fn a_session_that_is_lost_while_we_are_away_is_booked_from_the_last_time_we_were_connected() {
    BOTH.into_iter().for_each(a_session_is_lost);
}

fn a_session_is_lost(protocol: Protocol) {
    let home = tempfile::tempdir().unwrap();
    let back = NOW + Millis::hours(3);
    let lost = |site: &Site| {
        let losses = site.ingester.losses().list();
        losses.iter().map(|loss| (loss.source.clone(), loss.from, loss.to, loss.count)).collect::<Vec<_>>()
    };
    with_site_in(home.path(), NOW, protocol, |site| {
        // The first try fails: a broker that never knew us has lost nothing.
        drop(site.listener.accept().unwrap());
        let _peer = Peer::accept(site, false);
        assert_eq!(lost(site), []);
    });
    with_site_in(home.path(), back, protocol, |site| {
        let _peer = Peer::accept(site, false);
        assert_eq!(lost(site), [("broker:test".to_owned(), NOW, back, None)]);
    });
    with_site_in(home.path(), back + Millis::hours(1), protocol, |site| {
        let _peer = Peer::accept(site, true);
        assert_eq!(lost(site).len(), 1, "the session was kept");
    });
}

#[test]
fn a_broker_that_cuts_every_burst_and_sends_again_loses_nothing_and_doubles_nothing() {
    with_site(|site| {
        let mut unacknowledged: BTreeSet<u64> = (0..2000).collect();
        for round in 0..200 {
            let mut peer = Peer::accept(site, true);
            peer.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let batch: Vec<u64> = unacknowledged.iter().copied().take(400).collect();
            if batch.is_empty() {
                break;
            }
            for (place, seq) in batch.iter().enumerate() {
                peer.publish(place as u16 + 1, *seq);
            }
            // Cut after a part of the acknowledgements, another part every time.
            for pkid in peer.acks(37 + round * 61 % 300) {
                unacknowledged.remove(&batch[usize::from(pkid) - 1]);
            }
        }
        assert!(unacknowledged.is_empty(), "{} never acknowledged", unacknowledged.len());
        wait_for("the books to balance", || {
            let statement = site.ingester.accounts().statement();
            statement.pending == 0 && statement.balanced()
        });
        assert_eq!(stored(site), 2000);
    });
}

#[test]
fn peer_p5_a_poison_packet_is_let_in_once_quarantined_and_acknowledged() {
    with_site(|site| {
        let poison = vec![b'x'; 2 << 20];
        let mut peer = Peer::accept(site, false);
        peer.send(1, &poison);
        // Too long for this connection; the session brings it back on the next one.
        let mut peer = Peer::accept(site, true);
        peer.send(1, &poison);
        peer.publish(2, 7);
        assert_eq!(peer.acks(2), [1, 2]);
        let settled = site.ingester.accounts().statement().settled;
        assert_eq!(settled.quarantined_by_reason().collect::<Vec<_>>(), [("too_large", 1)]);
        assert_eq!(settled.stored, 1);
    });
}

#[test]
fn a_refused_subscription_is_not_up() {
    with_site(|site| {
        let mut peer = Peer::connected(&site.listener);
        let ack: &[u8] = if peer.1 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        peer.0.write_all(ack).unwrap();
        let (kind, body) = peer.packet().unwrap();
        assert_eq!(kind, 0x82);
        peer.suback(&body, if peer.1 { 0x87 } else { 0x80 });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!site.broker.is_up());
    });
}

#[test]
fn a_topic_that_is_no_text_is_quarantined_acknowledged_and_holds_up_nothing() {
    with_site(|site| {
        let mut peer = Peer::accept(site, false);
        let mut body = b"\0\x12lamp/z1/P\xff/reading".to_vec();
        body.extend_from_slice(&[0, 1]);
        if peer.1 {
            body.push(0);
        }
        body.extend_from_slice(br#"{"leakage_ma":0.5}"#);
        let mut packet = vec![0x32, body.len() as u8];
        packet.extend_from_slice(&body);
        peer.0.write_all(&packet).unwrap();
        peer.publish(2, 7);
        assert_eq!(peer.acks(2), [1, 2]);
        let settled = site.ingester.accounts().statement().settled;
        assert_eq!(settled.quarantined_by_reason().collect::<Vec<_>>(), [("bad_device", 1)]);
        assert_eq!(settled.stored, 1);
    });
}

#[test]
fn by_itself_it_speaks_mqtt_5_and_goes_over_to_3_1_1_where_that_is_refused() {
    let refusals: [&[u8]; 3] = [&[0x20, 3, 0, 0x84, 0], &[0x20, 2, 0, 1], &[]];
    for refusal in refusals {
        let home = tempfile::tempdir().unwrap();
        with_site_in(home.path(), NOW, Protocol::Auto, |site| {
            let mut peer = Peer::connected(&site.listener);
            assert!(peer.1, "MQTT 5 first");
            // With nothing to say it closes, as brokers before MQTT 5 do.
            peer.0.write_all(refusal).unwrap();
            drop(peer);
            let mut peer = Peer::connected(&site.listener);
            assert!(!peer.1, "{refusal:?}");
            peer.welcome(false);
            peer.publish(1, 1);
            assert_eq!(peer.acks(1), [1]);
            drop(peer);
            // A refusal holds; a connection that was only closed may have had another reason.
            let peer = Peer::connected(&site.listener);
            assert_eq!(peer.1, refusal.is_empty());
        });
    }
}

#[test]
fn a_broker_that_says_why_it_ends_the_connection_is_connected_to_again() {
    let home = tempfile::tempdir().unwrap();
    with_site_in(home.path(), NOW, Protocol::V5, |site| {
        let mut peer = Peer::accept(site, false);
        peer.publish(1, 1);
        assert_eq!(peer.acks(1), [1]);
        // DISCONNECT: session taken over, with a reason string.
        peer.0.write_all(&[0xe0, 8, 0x8e, 6, 31, 0, 3, b'b', b'y', b'e']).unwrap();
        let mut peer = Peer::accept(site, true);
        peer.publish(1, 2);
        assert_eq!(peer.acks(1), [1]);
        assert_eq!(stored(site), 2);
    });
}

#[test]
fn what_is_not_judged_here_is_stored_marked_and_acknowledged() {
    for protocol in BOTH {
        let home = tempfile::tempdir().unwrap();
        with_site_of(home.path(), NOW, protocol, false, |site| {
            let mut peer = Peer::accept(site, false);
            peer.publish(1, 1);
            assert_eq!(peer.acks(1), [1]);
            assert_eq!(stored(site), 1);
            let judged = site.judged.lock().unwrap();
            assert_eq!(*judged, [true], "each reading carries the mark");
        });
    }
}

#[test]
fn a_weather_message_of_a_megabyte_is_quarantined_and_harms_nothing() {
    with_site(|site| {
        let mut peer = Peer::accept(site, false);
        peer.publish(1, 1);
        let long = format!(r#"{{"rain_mm_h":1,"x":"{}"}}"#, "y".repeat((1 << 20) - 200));
        peer.send_to("weather/z1/rain", 2, long.as_bytes());
        peer.publish(3, 2);
        assert_eq!(peer.acks(3), [1, 2, 3]);
        let settled = site.ingester.accounts().statement().settled;
        assert_eq!(settled.quarantined_by_reason().collect::<Vec<_>>(), [("too_large", 1)]);
        assert_eq!(settled.stored, 2);
    });
}

fn judged(site: &Site) -> usize {
    site.judged.lock().unwrap().len()
}

#[test]
fn while_the_journal_takes_nothing_a_retained_message_over_the_limit_makes_no_alarm_deaf() {
    with_full_disk(|site| {
        let mut first = Peer::accept(site, false);
        first.publish(1, 1);
        let mut second = Peer::second(site, 0);
        wait_for("the first one to be judged", || judged(site) == 1);
        // A broker hands it out at every SUBSCRIBE: an error of it would come again for ever.
        second.send_as(0x31, "lamp/z1/P2/reading", 0, &vec![b'x'; 2 << 20]);
        for seq in 2..=5 {
            let payload = format!(r#"{{"seq":{seq},"boot":1,"leakage_ma":0.5}}"#);
            second.send_as(0x30, "lamp/z1/P1/reading", 0, payload.as_bytes());
        }
        wait_for("what comes behind it to be judged", || judged(site) == 5);
        second.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(second.packet().is_none(), "the connection is quiet");
        let end = second.0.read(&mut [0; 1]).map_err(|e| e.kind());
        assert_eq!(end, Err(std::io::ErrorKind::WouldBlock), "and open");
    });
}

#[test]
fn a_second_subscription_that_is_refused_or_cut_is_asked_for_again() {
    with_full_disk(|site| {
        let mut first = Peer::accept(site, false);
        first.publish(1, 1);
        let mut refused = Peer::second(site, if site.protocol == Protocol::V5 { 0x87 } else { 0x80 });
        assert!(refused.packet().is_none(), "of no use: ended by us");
        drop(Peer::second(site, 0));
        let mut second = Peer::second(site, 0);
        second.send_as(0x30, "lamp/z1/P1/reading", 0, br#"{"seq":2,"boot":1,"leakage_ma":0.5}"#);
        wait_for("the second one to be judged", || judged(site) == 2);
    });
}

#[test]
fn a_filter_that_left_the_configuration_is_ended_in_the_session_that_the_broker_kept() {
    for protocol in BOTH {
        let home = tempfile::tempdir().unwrap();
        let with = |more: Option<&str>, test: fn(&Site)| {
            let more = more.map(|filter| Mapping { filter: filter.to_owned(), profile: None });
            run(|| start_with(home.path(), NOW, protocol, (true, false), (more, None)), test);
        };
        with(Some("old/+/reading"), |site| {
            let mut peer = Peer::accept(site, false);
            peer.publish(1, 1);
            assert_eq!(peer.acks(1), [1]);
        });
        // Ended before the broker has said that it did so: asked for again.
        with(None, |site| {
            let mut peer = Peer::accept(site, true);
            assert_eq!(peer.packet().unwrap().0, 0xa2, "UNSUBSCRIBE behind SUBSCRIBE");
        });
        with(None, |site| {
            let mut peer = Peer::accept(site, true);
            let (kind, body) = peer.packet().unwrap();
            assert_eq!(kind, 0xa2);
            assert!(body.ends_with(b"\0\x0dold/+/reading"), "{body:?}");
            assert_eq!(body.windows(4).filter(|part| part == b"lamp").count(), 0, "the others stay");
            let done: &[u8] =
                if peer.1 { &[0xb0, 4, body[0], body[1], 0, 0] } else { &[0xb0, 2, body[0], body[1]] };
            peer.0.write_all(done).unwrap();
            peer.publish(1, 2);
            assert_eq!(peer.acks(1), [1]);
        });
        with(None, |site| {
            let mut peer = Peer::accept(site, true);
            peer.publish(1, 3);
            assert_eq!(peer.acks(1), [1], "nothing is left to end");
        });
    }
}

#[test]
fn a_broker_that_refuses_the_new_filter_or_the_share_leaves_us_the_old_subscription() {
    for (protocol, group) in BOTH.into_iter().flat_map(|protocol| [(protocol, None), (protocol, Some("g"))]) {
        let home = tempfile::tempdir().unwrap();
        let with = |more: Option<&str>, group, test: &dyn Fn(&Site)| {
            let more = more.map(|filter| Mapping { filter: filter.to_owned(), profile: None });
            run(|| start_with(home.path(), NOW, protocol, (true, false), (more, group)), test);
        };
        with(Some("old/+/reading"), None, &|site| {
            Peer::accept(site, false);
        });
        with(None, group, &|site| {
            let mut peer = Peer::connected(&site.listener);
            let ack: &[u8] = if peer.1 { &[0x20, 3, 1, 0, 0] } else { &[0x20, 2, 1, 0] };
            peer.0.write_all(ack).unwrap();
            let (kind, body) = peer.packet().unwrap();
            assert_eq!(kind, 0x82);
            peer.suback_of(&body, [1, 1, if peer.1 { 0x87 } else { 0x80 }]);
            // The old subscription brings it, and nothing was written before the acknowledgement.
            peer.publish(1, 1);
            assert_eq!(peer.acks(1), [1], "{group:?}");
            assert!(site.broker.is_up(), "two of three are granted");
        });
        with(None, group, &|site| {
            let mut peer = Peer::accept(site, true);
            let (kind, body) = peer.packet().unwrap();
            let ended = |filter: &[u8]| body.windows(filter.len()).any(|part| part == filter);
            assert_eq!((kind, ended(b"\0\x0dold/+/reading")), (0xa2, true), "ended when all is granted");
            assert_eq!(ended(b"\0\x10lamp/+/+/reading"), group.is_some(), "{body:?}");
        });
    }
}

#[test]
fn after_a_lost_session_no_number_of_an_edge_node_is_believed_before_its_next_birth() {
    let payload =
        |file: &str| std::fs::read(format!("{}/tests/data/{file}.bin", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let data = payload("sparkplug_ddata");
    for session_present in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let profiles = Profiles::load(&[]).unwrap();
        let profile = profiles.get("sparkplug").cloned().map(Arc::new);
        let more = Mapping { filter: "spBv1.0/#".to_owned(), profile };
        let start = || start_with(home.path(), NOW, Protocol::V5, (true, false), (Some(more), None));
        run(start, |site| {
            let mut peer = Peer::accept(site, false);
            peer.send_to("spBv1.0/G/NBIRTH/N1", 1, &payload("sparkplug_nbirth"));
            peer.send_to("spBv1.0/G/DBIRTH/N1/P17", 2, &payload("sparkplug_dbirth"));
            peer.send_to("spBv1.0/G/DDATA/N1/P17", 3, &data);
            assert_eq!(peer.acks(3), [1, 2, 3]);
            drop(peer);
            let mut peer = Peer::accept(site, session_present);
            peer.send_to("spBv1.0/G/DDATA/N1/P17", 1, &data);
            assert_eq!(peer.acks(1), [1]);
            let settled = site.ingester.accounts().statement().settled;
            let refused: Vec<_> = settled.quarantined_by_reason().collect();
            let expected = if session_present { vec![] } else { vec![("unknown_alias", 1)] };
            assert_eq!((refused, settled.duplicate), (expected, u64::from(session_present)));
        });
    }
}
