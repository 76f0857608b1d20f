//! The header that stands before a record in /dev/kmsg and in netconsole's extended format.

use std::{fmt, str::FromStr, time::Duration};

/// `PRI,SEQ,USEC,FLAG[,caller=T1][,ncfrag=0/1022];`, on the wire perhaps after the kernel's release and a comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Only netconsole sends it, where the target asks for it.
    pub(crate) release: Option<String>,
    pub(crate) facility: u8,
    /// 0 (emerg) to 7 (debug).
    pub(crate) level: u8,
    pub(crate) sequence: u64,
    /// Since boot; whole microseconds.
    pub(crate) timestamp: Duration,
    pub(crate) flag: Flag,
    /// `T123` or `C0`, from kernels with `CONFIG_PRINTK_CALLER`.
    pub(crate) caller: Option<String>,
    /// Further fields, as they stand: readers are to leave alone what they do not know.
    pub(crate) others: Vec<String>,
    /// Which piece of the body follows; only netconsole sends it.
    pub(crate) fragment: Option<Fragment>,
}

/// Whether a record is whole or a piece of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `-`
    Whole,
    /// `c`: the start of a line, or from 5.10 on any piece of it.
    Continuation,
    /// `+`: what follows a `c`, before 5.10.
    Continued,
}

/// `ncfrag=OFFSET/TOTAL`, in bytes of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) offset: usize,
    pub(crate) total: usize,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidHeader {
    #[error("no `;` ends the header")]
    NoEnd,
    #[error("the header is no text")]
    NotText,
    #[error("the header lacks its {0}")]
    Missing(Field),
    #[error("the header's {0} is no such")]
    Invalid(Field),
}

/// A field of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Priority,
    Sequence,
    Timestamp,
    Flag,
    Fragment,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Priority => "priority",
            Self::Sequence => "sequence number",
            Self::Timestamp => "timestamp",
            Self::Flag => "flag",
            Self::Fragment => "`ncfrag`",
        })
    }
}

/// No header is longer: the release has 64 bytes at most, the rest far less.
const LONGEST: usize = 256;

impl Header {
    /// Parses the header at the start of `bytes`; says where the body begins, too.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, usize), InvalidHeader> {
        let end = bytes
            .iter()
            .take(LONGEST)
            .position(|byte| *byte == b';')
            .ok_or(InvalidHeader::NoEnd)?;
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| InvalidHeader::NotText)?;
        let mut fields = text.split(',').peekable();
        // As ncrx tells it (`ncrx.c`, `parse_packet`).
        let release = fields.next_if(|first| is_release(first)).map(str::to_owned);
        let priority: u32 = number(fields.next(), Field::Priority)?;
        let sequence = number(fields.next(), Field::Sequence)?;
        let timestamp = Duration::from_micros(number(fields.next(), Field::Timestamp)?);
        let flag = Flag::parse(fields.next())?;
        let mut header = Self {
            release,
            facility: u8::try_from(priority >> 3)
                .map_err(|_| InvalidHeader::Invalid(Field::Priority))?,
            level: (priority & 7) as u8,
            sequence,
            timestamp,
            flag,
            caller: None,
            others: Vec::new(),
            fragment: None,
        };
        for field in fields {
            header.take(field)?;
        }
        Ok((header, end + 1))
    }

    /// Takes one of the fields that need not be there.
    fn take(&mut self, field: &str) -> Result<(), InvalidHeader> {
        match field.split_once('=') {
            Some(("caller", caller)) if self.caller.is_none() && self.fragment.is_none() => {
                self.caller = Some(caller.to_owned());
            }
            Some(("ncfrag", range)) if self.fragment.is_none() => {
                self.fragment = Some(Fragment::parse(range)?);
            }
            Some(_) | None => self.others.push(field.to_owned()),
        }
        Ok(())
    }

    /// Facility times 8 plus level: the number that stands first.
    pub(crate) fn priority(&self) -> u32 {
        u32::from(self.facility) << 3 | u32::from(self.level)
    }

    /// Whether both are of one message: they differ in nothing but the fragment.
    pub(crate) fn is_of_the_same_message(&self, other: &Self) -> bool {
        self.sequence == other.sequence
            && Self {
                fragment: None,
                ..self.clone()
            } == Self {
                fragment: None,
                ..other.clone()
            }
    }
}

impl Flag {
    fn parse(field: Option<&str>) -> Result<Self, InvalidHeader> {
        match field {
            Some("-") => Ok(Self::Whole),
            Some("c") => Ok(Self::Continuation),
            Some("+") => Ok(Self::Continued),
            Some(_) => Err(InvalidHeader::Invalid(Field::Flag)),
            None => Err(InvalidHeader::Missing(Field::Flag)),
        }
    }
}

impl Fragment {
    fn parse(range: &str) -> Result<Self, InvalidHeader> {
        let (offset, total) = range
            .split_once('/')
            .ok_or(InvalidHeader::Invalid(Field::Fragment))?;
        Ok(Self {
            offset: number(Some(offset), Field::Fragment)?,
            total: number(Some(total), Field::Fragment)?,
        })
    }
}

/// Whether a first field is a kernel's release: ncrx asks for a dot, and a basic message's prefix has one, too.
fn is_release(field: &str) -> bool {
    field.contains('.')
        && field
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".+-_~".contains(&byte))
}

/// A number as the kernel's `%u` prints it: digits, no sign, no leading zero.
fn number<N: FromStr>(field: Option<&str>, name: Field) -> Result<N, InvalidHeader> {
    let text = field.ok_or(InvalidHeader::Missing(name))?;
    let plain =
        text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if !plain {
        return Err(InvalidHeader::Invalid(name));
    }
    text.parse().map_err(|_| InvalidHeader::Invalid(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use rstest::rstest;

    use super::*;

    fn plain(priority: u8, sequence: u64, microseconds: u64) -> Header {
        Header {
            release: None,
            facility: priority >> 3,
            level: priority & 7,
            sequence,
            timestamp: Duration::from_micros(microseconds),
            flag: Flag::Whole,
            caller: None,
            others: Vec::new(),
            fragment: None,
        }
    }

    #[rstest]
    #[case::kmsg("13,412,15533188,-;", plain(13, 412, 15_533_188))]
    #[case::release("6.12.117+deb12-amd64,13,434,23709545,-;rel\n",
        Header { release: Some("6.12.117+deb12-amd64".into()), ..plain(13, 434, 23_709_545) })]
    #[case::continuation("6,1,2,c;", Header { flag: Flag::Continuation, ..plain(6, 1, 2) })]
    #[case::caller("6,1,2,-,caller=T1;", Header { caller: Some("T1".into()), ..plain(6, 1, 2) })]
    #[case::fragment("13,419,19647980,-,ncfrag=968/1022;x",
        Header { fragment: Some(Fragment { offset: 968, total: 1022 }), ..plain(13, 419, 19_647_980) })]
    #[case::caller_and_fragment("6,1,2,-,caller=C0,ncfrag=0/1;",
        Header { caller: Some("C0".into()), fragment: Some(Fragment { offset: 0, total: 1 }), ..plain(6, 1, 2) })]
    #[case::unknown("6,1,2,-,cpu=1;", Header { others: vec!["cpu=1".into()], ..plain(6, 1, 2) })]
    fn parses(#[case] text: &str, #[case] header: Header) {
        assert_eq!(
            Header::parse(text.as_bytes()),
            Ok((header, text.find(';').unwrap() + 1))
        );
    }

    #[rstest]
    #[case::basic("[   12.882688] lvl0\n", InvalidHeader::NoEnd)]
    #[case::basic_with_semicolon("[   12.882688] a;b\n", InvalidHeader::Invalid(Field::Priority))]
    #[case::short("13,412;", InvalidHeader::Missing(Field::Timestamp))]
    #[case::no_flag("13,412,1;", InvalidHeader::Missing(Field::Flag))]
    #[case::flag("13,412,1,x;", InvalidHeader::Invalid(Field::Flag))]
    #[case::leading_zero("013,412,1,-;", InvalidHeader::Invalid(Field::Priority))]
    #[case::sign("13,+412,1,-;", InvalidHeader::Invalid(Field::Sequence))]
    #[case::empty_number("13,,1,-;", InvalidHeader::Invalid(Field::Sequence))]
    #[case::too_large(
        "13,99999999999999999999,1,-;",
        InvalidHeader::Invalid(Field::Sequence)
    )]
    #[case::fragment("13,4,1,-,ncfrag=12;", InvalidHeader::Invalid(Field::Fragment))]
    #[case::negative_fragment("13,4,1,-,ncfrag=-1/12;", InvalidHeader::Invalid(Field::Fragment))]
    fn refuses(#[case] text: &str, #[case] error: InvalidHeader) {
        assert_eq!(Header::parse(text.as_bytes()), Err(error));
    }

    #[test]
    fn tells_messages_apart_by_more_than_the_sequence() {
        let parse = |text: &str| Header::parse(text.as_bytes()).unwrap().0;
        let first = parse("13,4,1,-,ncfrag=0/12;");
        assert!(first.is_of_the_same_message(&parse("13,4,1,-,ncfrag=6/12;")));
        assert!(!first.is_of_the_same_message(&parse("13,4,2,-,ncfrag=6/12;")));
        assert!(!first.is_of_the_same_message(&parse("12,4,1,-,ncfrag=6/12;")));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, sequence in any::<u64>()) {
            let _ = Header::parse(&bytes);
            let _ = Header::parse(format!("6.1,{sequence},{sequence},{sequence},-,ncfrag={sequence}/{sequence};").as_bytes());
        }
    }
}
