//! From the kernel's record to what people read.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use weir_common::address::Address;
use weir_common::event::Event;
use weir_common::reason::Reason;

use super::clock::Clock;
use crate::api::trace::Decision;

/// A record as it lies in the ring, if it has the right size.
pub(super) fn parse(record: &[u8]) -> Option<Event> {
    let u64_at = |at: usize| Some(u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let u16_at = |at: usize| Some(u16::from_ne_bytes(record.get(at..at + 2)?.try_into().ok()?));
    let address_at = |at: usize| {
        Some(Address {
            words: [u32_at(at)?, u32_at(at + 4)?, u32_at(at + 8)?, u32_at(at + 12)?],
        })
    };
    if record.len() < size_of::<Event>() {
        return None;
    }
    Some(Event {
        time_ns: u64_at(0)?,
        netns: u64_at(8)?,
        source: address_at(16)?,
        destination: address_at(32)?,
        turned_to: address_at(48)?,
        source_port: u16_at(64)?,
        destination_port: u16_at(66)?,
        turned_to_port: u32_at(68)?,
        reason: u32_at(72)?,
        process: u32_at(76)?,
        untold: u32_at(80)?,
        reserved: u32_at(84)?,
    })
}

/// What people read.
pub(super) fn decision(
    event: &Event,
    clock: Clock,
    pod: Option<String>,
    command: Option<String>,
) -> Decision {
    let (verdict, reason) = match Reason::from_u32(event.reason) {
        Some(reason) => (reason.verdict().name(), reason.name().to_owned()),
        // A program of a newer version may know more reasons.
        None => ("unknown", event.reason.to_string()),
    };
    Decision {
        time: clock.time(event.time_ns),
        pod,
        netns: event.netns,
        process: (event.process != 0).then_some(event.process),
        command,
        verdict: verdict.to_owned(),
        reason,
        source: (!event.source.is_unspecified()).then(|| IpAddr::from(event.source)),
        source_port: (event.source_port != 0).then_some(event.source_port),
        destination: event.destination.into(),
        destination_port: event.destination_port,
        turned_to: turned_to(event),
    }
}

fn turned_to(event: &Event) -> Option<SocketAddr> {
    let port = u16::try_from(event.turned_to_port).ok()?;
    (port != 0).then(|| SocketAddr::new(event.turned_to.into(), port))
}

/// The name of a process, if it still runs and can be seen.
pub(super) fn command(process: u32) -> Option<String> {
    if process == 0 {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;
    use std::net::IpAddr;

    use weir_common::event::Event;
    use weir_common::reason::Reason;

    use super::{decision, parse};
    use crate::trace::clock::Clock;

    #[test]
    fn a_record_is_read_field_by_field() {
        let layout = [
            offset_of!(Event, time_ns),
            offset_of!(Event, netns),
            offset_of!(Event, source),
            offset_of!(Event, destination),
            offset_of!(Event, turned_to),
            offset_of!(Event, source_port),
            offset_of!(Event, destination_port),
            offset_of!(Event, turned_to_port),
            offset_of!(Event, reason),
            offset_of!(Event, process),
            offset_of!(Event, untold),
            offset_of!(Event, reserved),
            size_of::<Event>(),
        ];
        assert_eq!(layout, [0, 8, 16, 32, 48, 64, 66, 68, 72, 76, 80, 84, 88]);
        let record: Vec<u8> = (0..88).collect();
        let event = parse(&record).unwrap();
        assert_eq!(event.time_ns, u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(event.destination.words[3], u32::from_ne_bytes([44, 45, 46, 47]));
        assert_eq!(event.destination_port, u16::from_ne_bytes([66, 67]));
        assert_eq!(event.process, u32::from_ne_bytes([76, 77, 78, 79]));
        assert_eq!(event.untold, u32::from_ne_bytes([80, 81, 82, 83]));
        assert_eq!(parse(&record[..87]), None);
    }

    #[test]
    fn what_the_kernel_has_not_chosen_is_nothing() {
        let mut event = Event {
            destination: "10.0.0.2".parse::<IpAddr>().unwrap().into(),
            destination_port: 80,
            reason: Reason::Outbound as u32,
            ..Event::default()
        };
        let clock = Clock::read().unwrap();
        let told = decision(&event, clock, None, None);
        assert_eq!((told.source, told.source_port, told.process), (None, None, None));
        assert_eq!(
            (told.verdict.as_str(), told.reason.as_str()),
            ("redirected", "outbound")
        );
        assert_eq!(told.destination.to_string(), "10.0.0.2");
        assert_eq!(told.turned_to, None);
        event.turned_to = "127.0.0.1".parse::<IpAddr>().unwrap().into();
        event.turned_to_port = 15053;
        let turned = decision(&event, clock, None, None).turned_to;
        assert_eq!(turned, Some("127.0.0.1:15053".parse().unwrap()));
        event.reason = 9999;
        assert_eq!(decision(&event, clock, None, None).reason, "9999");
    }
}
