//! Puts the datagrams of one flow together to messages, with the strict arithmetic of the kernel.
//!
//! A flow is one target's stream of one format: what other flows send in between never gets here.

use crate::netconsole::{
    header::{Fragment, Header},
    message::{Fault, MOST_BYTES, Message},
    prefix::Prefix,
};

/// What is begun and not yet whole.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    partial: Option<Partial>,
}

#[derive(Debug)]
enum Partial {
    Basic(Pieces),
    Extended {
        header: Header,
        total: usize,
        body: Vec<u8>,
        pieces: Pieces,
    },
}

#[derive(Debug, Default)]
struct Pieces {
    payloads: Vec<Vec<u8>>,
    frames: Vec<u64>,
    faults: Vec<Fault>,
}

/// No kernel formats more than this into one message, userdata included.
const LONGEST: usize = 1 << 18;

impl Assembly {
    /// Whether a basic message waits for its tail, so that the next datagram is text whatever it looks like.
    pub(crate) fn awaits_a_tail(&self) -> bool {
        matches!(self.partial, Some(Partial::Basic(_)))
    }

    /// Takes a datagram of a basic target; gives the messages that it ends.
    pub(crate) fn push_basic(&mut self, frame: u64, payload: &[u8]) -> Vec<Message> {
        let mut done = Vec::new();
        let pieces = match self.partial.take() {
            Some(Partial::Basic(pieces)) if !begins_anew(&pieces, payload) => Some(pieces),
            other => {
                self.partial = other;
                done.extend(self.flush());
                None
            }
        };
        let mut pieces = pieces.unwrap_or_default();
        pieces.push(frame, payload);
        let length: usize = pieces.payloads.iter().map(Vec::len).sum();
        if payload.len() == MOST_BYTES && !payload.ends_with(b"\n") && length < LONGEST {
            self.partial = Some(Partial::Basic(pieces));
        } else {
            done.push(Message::basic(
                pieces.payloads,
                pieces.frames,
                pieces.faults,
            ));
        }
        done
    }

    /// Takes a datagram with an extended header; gives the messages that it ends.
    pub(crate) fn push_extended(
        &mut self,
        frame: u64,
        payload: &[u8],
        header: Header,
        body: usize,
    ) -> Vec<Message> {
        let body = &payload[body..];
        let mut done = Vec::new();
        let Some(fragment) = header.fragment else {
            done.extend(self.flush());
            let mut pieces = Pieces::default();
            pieces.push(frame, payload);
            pieces.check_end(body, payload.len());
            done.push(Message::extended(
                header,
                body.to_vec(),
                pieces.payloads,
                pieces.frames,
                pieces.faults,
            ));
            return done;
        };
        let continues = matches!(&self.partial, Some(Partial::Extended { header: first, .. }) if first.is_of_the_same_message(&header));
        let again = continues && fragment.offset == 0;
        if !continues || again {
            done.extend(self.flush());
            self.begin(header, fragment);
        }
        let ended = self.add(fragment, frame, payload, body);
        if ended {
            done.extend(self.flush());
        }
        done
    }

    /// Gives up on what is begun: its rest does not come any more.
    pub(crate) fn flush(&mut self) -> Option<Message> {
        match self.partial.take()? {
            Partial::Basic(Pieces {
                payloads,
                frames,
                mut faults,
            }) => {
                faults.push(Fault::TailLost);
                Some(Message::basic(payloads, frames, faults))
            }
            Partial::Extended {
                header,
                total,
                body,
                mut pieces,
            } => {
                pieces.check_whole(&header, &body, total);
                let Pieces {
                    payloads,
                    frames,
                    faults,
                } = pieces;
                Some(Message::extended(header, body, payloads, frames, faults))
            }
        }
    }

    fn begin(&mut self, header: Header, fragment: Fragment) {
        let mut pieces = Pieces::default();
        if fragment.offset > 0 {
            pieces.faults.push(Fault::FragmentAlone {
                offset: fragment.offset,
                total: fragment.total,
            });
        }
        self.partial = Some(Partial::Extended {
            header,
            total: fragment.total,
            body: Vec::new(),
            pieces,
        });
    }

    /// Adds a fragment to the message that it is of; says whether nothing more can follow.
    fn add(&mut self, fragment: Fragment, frame: u64, payload: &[u8], bytes: &[u8]) -> bool {
        let Some(Partial::Extended {
            total,
            body,
            pieces,
            ..
        }) = &mut self.partial
        else {
            return false;
        };
        let (
            total,
            Fragment {
                offset,
                total: later,
            },
        ) = (*total, fragment);
        pieces.push(frame, payload);
        if later != total {
            pieces.faults.push(Fault::FragmentTotal {
                first: total,
                later,
            });
        }
        let end = body.len();
        if offset < end && !pieces.is_alone() {
            pieces.faults.push(Fault::FragmentOverlap { offset, end });
        } else {
            if offset > end && !pieces.is_alone() {
                pieces
                    .faults
                    .push(Fault::FragmentLost { offset: end, total });
            }
            body.extend_from_slice(bytes);
        }
        let reached = offset.saturating_add(bytes.len());
        if reached > total {
            pieces.faults.push(Fault::FragmentOverrun {
                end: reached,
                total,
            });
        } else if reached < total && payload.len() != MOST_BYTES {
            pieces.faults.push(Fault::FragmentShort {
                offset,
                bytes: payload.len(),
            });
        }
        reached >= total || body.len() > LONGEST || pieces.frames.len() > LONGEST / 64
    }
}

impl Pieces {
    fn push(&mut self, frame: u64, payload: &[u8]) {
        if payload.len() > MOST_BYTES {
            self.faults.push(Fault::Oversized {
                bytes: payload.len(),
            });
        }
        self.payloads.push(payload.to_vec());
        self.frames.push(frame);
    }

    /// Whether the first fragment is not the first of its message.
    fn is_alone(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| matches!(fault, Fault::FragmentAlone { .. }))
    }

    /// Checks what came of a fragmented message.
    fn check_whole(&mut self, header: &Header, body: &[u8], total: usize) {
        let bytes = header_length(&self.payloads[0], header.fragment) + body.len();
        if body.len() < total && !self.is_alone() {
            self.faults.push(Fault::FragmentLost {
                offset: body.len(),
                total,
            });
        } else if body.len() == total && bytes <= MOST_BYTES {
            self.faults.push(Fault::FragmentNeedless { bytes });
        }
        if body.len() >= total {
            self.check_end(body, bytes);
        }
    }

    /// An extended message ends with a newline, unless the kernel's buffer was full (2048 bytes, `PRINTK_MESSAGE_MAX`).
    fn check_end(&mut self, body: &[u8], length: usize) {
        if !body.ends_with(b"\n") && length < 2000 {
            self.faults.push(Fault::NoNewline);
        }
    }
}

/// How long the header of the first fragment would be without its `ncfrag`, its `;` included.
fn header_length(payload: &[u8], fragment: Option<Fragment>) -> usize {
    let length = payload
        .iter()
        .position(|byte| *byte == b';')
        .map_or(0, |end| end + 1);
    let field = fragment.map_or(0, |Fragment { offset, total }| {
        format!(",ncfrag={offset}/{total}").len()
    });
    length.saturating_sub(field)
}

/// Whether a datagram that follows a cut message is no tail but begins the next message, so that the tail is lost.
fn begins_anew(pieces: &Pieces, payload: &[u8]) -> bool {
    let (first, _) = Prefix::parse(&pieces.payloads[0]);
    let (next, _) = Prefix::parse(payload);
    first.timestamp.is_some() && next.timestamp.is_some() && first.style() == next.style()
}

#[cfg(test)]
mod tests {
    use proptest::proptest;
    use rstest::rstest;

    use super::*;

    /// Pushes datagrams as their own headers say; gives what came of them, what is left flushed.
    fn assemble(datagrams: &[Vec<u8>]) -> Vec<Message> {
        let mut assembly = Assembly::default();
        let mut messages = Vec::new();
        for (number, datagram) in datagrams.iter().enumerate() {
            messages.extend(match Header::parse(datagram) {
                Ok((header, body)) => assembly.push_extended(number as u64, datagram, header, body),
                Err(_) => assembly.push_basic(number as u64, datagram),
            });
        }
        messages.extend(assembly.flush());
        messages
    }

    /// As `send_ext_msg_udp` cuts it.
    fn fragments(header: &str, body: &str) -> Vec<Vec<u8>> {
        let mut offset = 0;
        let mut datagrams = Vec::new();
        while offset < body.len() {
            let header = format!("{header},ncfrag={offset}/{};", body.len());
            let end = body.len().min(offset + MOST_BYTES - header.len());
            datagrams.push([header.as_bytes(), &body.as_bytes()[offset..end]].concat());
            offset = end;
        }
        datagrams
    }

    fn long(bytes: usize) -> String {
        "abcdefghij".repeat(bytes / 10) + "\n userdata=1\n"
    }

    #[rstest]
    #[case::two(1010, 2)]
    #[case::three(2500, 3)]
    fn joins_fragments(#[case] bytes: usize, #[case] count: usize) {
        let datagrams = fragments("13,419,19647980,-,caller=T1", &long(bytes));
        assert_eq!(datagrams.len(), count);
        let messages = assemble(&datagrams);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].faults, []);
        assert_eq!(messages[0].text.len(), bytes);
        assert_eq!(messages[0].frames, (0..count as u64).collect::<Vec<_>>());
    }

    #[rstest]
    #[case::first_lost(|d: &mut Vec<Vec<u8>>| { d.remove(0); }, |f: &Fault| matches!(f, Fault::FragmentAlone { .. }))]
    #[case::middle_lost(|d: &mut Vec<Vec<u8>>| { d.remove(1); }, |f: &Fault| matches!(f, Fault::FragmentLost { .. }))]
    #[case::last_lost(|d: &mut Vec<Vec<u8>>| { d.pop(); }, |f: &Fault| matches!(f, Fault::FragmentLost { .. }))]
    #[case::twice(|d: &mut Vec<Vec<u8>>| d.insert(1, d[1].clone()), |f: &Fault| matches!(f, Fault::FragmentOverlap { .. }))]
    #[case::first_twice(|d: &mut Vec<Vec<u8>>| d.insert(1, d[0].clone()), |f: &Fault| matches!(f, Fault::FragmentLost { .. }))]
    #[case::last_twice(|d: &mut Vec<Vec<u8>>| d.push(d[2].clone()), |f: &Fault| matches!(f, Fault::FragmentAlone { .. }))]
    #[case::swapped(|d: &mut Vec<Vec<u8>>| d.swap(1, 2), |f: &Fault| matches!(f, Fault::FragmentLost { .. }))]
    #[case::short(|d: &mut Vec<Vec<u8>>| { d[0].pop(); }, |f: &Fault| matches!(f, Fault::FragmentShort { .. }))]
    #[case::overrun(|d: &mut Vec<Vec<u8>>| d[2].push(b'x'), |f: &Fault| matches!(f, Fault::FragmentOverrun { .. }))]
    #[case::oversized(|d: &mut Vec<Vec<u8>>| d[0].push(b'x'), |f: &Fault| matches!(f, Fault::Oversized { bytes: 1001 }))]
    #[case::stranger_between(|d: &mut Vec<Vec<u8>>| d.insert(1, b"6,1,2,-;x\n".to_vec()), |f: &Fault| matches!(f, Fault::FragmentLost { .. }))]
    #[case::other_total(|d: &mut Vec<Vec<u8>>| {
        let text = String::from_utf8(d[1].clone()).unwrap().replace("/2513;", "/2514;");
        d[1] = text.into_bytes();
    }, |f: &Fault| matches!(f, Fault::FragmentTotal { first: 2513, later: 2514 }))]
    fn notices_wrong_fragments(
        #[case] break_it: fn(&mut Vec<Vec<u8>>),
        #[case] is_it: fn(&Fault) -> bool,
    ) {
        let mut datagrams = fragments("13,419,19647980,-", &long(2500));
        break_it(&mut datagrams);
        let faults: Vec<Fault> = assemble(&datagrams)
            .into_iter()
            .flat_map(|message| message.faults)
            .collect();
        assert!(faults.iter().any(is_it), "{faults:?}");
    }

    #[test]
    fn notices_fragments_of_a_message_that_would_fit() {
        let body = "a".repeat(900) + "\n";
        let datagrams: Vec<_> = [(0, 500), (500, 901)]
            .map(|(from, to)| {
                format!("13,419,1,-,ncfrag={from}/901;{}", &body[from..to]).into_bytes()
            })
            .into();
        let faults = &assemble(&datagrams)[0].faults;
        assert!(
            faults.contains(&Fault::FragmentNeedless { bytes: 912 }),
            "{faults:?}"
        );
        let whole = assemble(&[format!("13,419,1,-,ncfrag=0/901;{body}").into_bytes()]);
        assert_eq!(whole[0].faults, [Fault::FragmentNeedless { bytes: 912 }]);
    }

    #[test]
    fn fragments_of_a_message_one_byte_too_long_are_needed() {
        let header = "13,419,1,-";
        let body = "a".repeat(1000 - header.len() - 1) + "\n";
        assert_eq!(assemble(&fragments(header, &body))[0].faults, []);
        assert_eq!(
            assemble(&[format!("{header};{}", &body[1..]).into_bytes()])[0].faults,
            []
        );
        assert_eq!(
            assemble(&[format!("{header};{body}").into_bytes()])[0].faults,
            [Fault::Oversized { bytes: 1001 }]
        );
    }

    #[test]
    fn joins_a_basic_message_cut_at_1000_bytes() {
        let whole = format!("[   12.882688] {}\n", "0".repeat(1000)).into_bytes();
        let messages = assemble(&[
            whole[..1000].to_vec(),
            whole[1000..].to_vec(),
            b"[   12.882689] next\n".to_vec(),
        ]);
        assert_eq!(messages.len(), 2);
        assert_eq!(
            (
                messages[0].text.len(),
                &messages[0].faults,
                &messages[0].frames
            ),
            (1000, &vec![], &vec![0, 1])
        );
        assert_eq!(messages[1].text, b"next");
    }

    #[rstest]
    #[case::tail_lost(&[1000], &[Fault::TailLost])]
    #[case::cut_early(&[999], &[Fault::NoNewline])]
    #[case::not_cut(&[], &[Fault::Oversized { bytes: 1016 }])]
    fn notices_wrong_cuts(#[case] cuts: &[usize], #[case] faults: &[Fault]) {
        let whole = format!("[   12.882688] {}\n", "0".repeat(1000)).into_bytes();
        let mut datagrams: Vec<_> = match cuts {
            [cut] => vec![whole[..*cut].to_vec()],
            _ => vec![whole],
        };
        datagrams.push(b"[   12.882689] next\n".to_vec());
        let messages = assemble(&datagrams);
        assert_eq!(messages[0].faults, faults);
        assert_eq!(messages[1].text, b"next");
    }

    proptest! {
        #[test]
        fn never_panics(datagrams: Vec<Vec<u8>>, offset: usize, total: usize) {
            let _ = assemble(&datagrams);
            let fragment = |body: &[u8]| [format!("6,1,2,-,ncfrag={offset}/{total};").as_bytes(), body].concat();
            let _ = assemble(&datagrams.iter().map(|body| fragment(body)).collect::<Vec<_>>());
        }
    }
}
