//! What a program wrote to one place: lines, and the harness's markers among them.
//!
//! A line is what stands between two newlines; what stands behind the last one is a line, too, as far as it goes.

use regex::bytes::Regex;

/// What a program printed, or what one of its files holds.
#[derive(Debug)]
pub(crate) struct Written {
    bytes: Vec<u8>,
    /// Where each whole line ends, its newline not counted, and where the next one begins.
    ends: Vec<(usize, usize)>,
    /// Whole lines that hold a marker, and its number.
    markers: Vec<(usize, u64)>,
    /// Markers that were over without having come through, and the first line that was written behind each.
    cuts: Vec<(usize, u64)>,
    marker: Regex,
}

impl Written {
    /// Nothing yet; `token` is the run's.
    pub(crate) fn new(token: &str) -> Self {
        let marker = format!("(?-u)lastwords-marker:? {} ([0-9]+)", regex::escape(token));
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            markers: Vec::new(),
            cuts: Vec::new(),
            marker: Regex::new(&marker).expect("a token has nothing but letters and digits"),
        }
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The last line that says something and holds no marker.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        let lines = (0..=self.whole_lines())
            .rev()
            .map(|number| self.line(number));
        let mut said =
            lines.filter(|line| !line.trim_ascii().is_empty() && !self.marker.is_match(line));
        said.next()
    }

    /// It gained something.
    pub(crate) fn gain(&mut self, bytes: &[u8]) {
        let old = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        for (place, _) in newlines {
            self.end_line(old + place, old + place + 1);
        }
    }

    /// The file is another one, or begins anew: what comes continues no line.
    pub(crate) fn begin_anew(&mut self) {
        if self.begin_of_last() < self.bytes.len() {
            self.end_line(self.bytes.len(), self.bytes.len());
        }
    }

    fn end_line(&mut self, end: usize, next: usize) {
        let line = &self.bytes[self.begin_of_last()..end];
        let numbers = self.marker.captures_iter(line).filter_map(|found| {
            let digits = std::str::from_utf8(found.get(1)?.as_bytes()).ok()?;
            Some((self.ends.len(), digits.parse().ok()?))
        });
        self.markers.extend(numbers);
        self.ends.push((end, next));
    }

    fn begin_of_last(&self) -> usize {
        self.ends.last().map_or(0, |(_, next)| *next)
    }

    /// How many lines are whole.
    pub(crate) fn whole_lines(&self) -> usize {
        self.ends.len()
    }

    /// A line as it is; the one behind the last whole one is what has come of it.
    pub(crate) fn line(&self, number: usize) -> &[u8] {
        let begin = match number.checked_sub(1) {
            Some(before) => self
                .ends
                .get(before)
                .map_or(self.bytes.len(), |(_, next)| *next),
            None => 0,
        };
        let end = self
            .ends
            .get(number)
            .map_or(self.bytes.len(), |(end, _)| *end);
        &self.bytes[begin..end]
    }

    /// A line without the markers in it; whether there were any.
    pub(crate) fn text(&self, number: usize) -> (Vec<u8>, bool) {
        let line = self.line(number);
        let text = self.marker.replace_all(line, &b""[..]).into_owned();
        let has_marker = text.len() != line.len();
        (text, has_marker)
    }

    /// Whether a marker has come through.
    pub(crate) fn has_marker(&self, number: u64) -> bool {
        self.markers.iter().any(|(_, marker)| *marker == number)
    }

    /// Whether any marker has ever come through.
    pub(crate) fn has_markers(&self) -> bool {
        !self.markers.is_empty()
    }

    /// A marker is over, and has not come through: what is there stands before it, and what comes stands behind it and
    /// continues no line.
    pub(crate) fn cut(&mut self, number: u64) {
        self.begin_anew();
        self.cuts.push((self.ends.len(), number));
    }

    /// The first line behind the last marker whose number is not above `number`.
    pub(crate) fn behind(&self, number: Option<u64>) -> usize {
        let Some(number) = number else {
            return 0;
        };
        let markers = self
            .markers
            .iter()
            .map(|(line, marker)| (line + 1, *marker));
        let before = markers.chain(self.cuts.iter().copied());
        before
            .filter(|(_, marker)| *marker <= number)
            .map(|(line, _)| line)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn written(pieces: &[&str]) -> Written {
        let mut written = Written::new("ab12");
        for piece in pieces {
            written.gain(piece.as_bytes());
        }
        written
    }

    #[rstest]
    #[case::whole(&["a\nb\n"], &["a", "b", ""])]
    #[case::in_pieces(&["a", "b\nc", "\n", "d"], &["ab", "c", "d"])]
    #[case::empty(&["\n\n"], &["", "", ""])]
    fn splits_at_newlines(#[case] pieces: &[&str], #[case] lines: &[&str]) {
        let written = written(pieces);
        let found: Vec<_> = (0..=written.whole_lines())
            .map(|number| String::from_utf8_lossy(written.line(number)).into_owned())
            .collect();
        assert_eq!(found, lines);
    }

    #[test]
    fn a_file_that_begins_anew_continues_no_line() {
        let mut written = written(&["half"]);
        written.begin_anew();
        written.gain(b"other\n");
        assert_eq!(
            (written.line(0), written.line(1)),
            (&b"half"[..], &b"other"[..])
        );
    }

    #[rstest]
    #[case::bare("[    1.000000] lastwords-marker ab12 7\n", true)]
    #[case::behind_a_header(
        "Nov 24 22:00:00 10.1.0.1 [    1.000000] lastwords-marker ab12 7\n",
        true
    )]
    #[case::as_a_tag("Nov 24 22:00:00 10.1.0.1 lastwords-marker: ab12 7\n", true)]
    #[case::glued("half a line[    1.000000] lastwords-marker ab12 7\n", true)]
    #[case::in_one_line("a#012lastwords-marker ab12 7\n", true)]
    #[case::not_whole("[    1.000000] lastwords-marker ab12 7", false)]
    #[case::longer("lastwords-marker ab12 77\n", false)]
    #[case::other_run("lastwords-marker ab13 7\n", false)]
    #[case::probe("lastwords-probe ab12 7\n", false)]
    fn knows_markers(#[case] text: &str, #[case] is_one: bool) {
        assert_eq!(written(&[text]).has_marker(7), is_one);
    }

    #[test]
    fn a_window_begins_behind_the_last_marker_before_it() {
        let written = written(&[
            "lastwords-marker ab12 1\na\n",
            "lastwords-marker ab12 3\nb\n",
        ]);
        assert_eq!(written.behind(None), 0);
        assert_eq!(written.behind(Some(1)), 1);
        assert_eq!(written.behind(Some(2)), 1);
        assert_eq!(written.behind(Some(9)), 3);
    }

    #[test]
    fn a_window_begins_behind_a_cut_where_no_marker_came_through() {
        let mut written = written(&["a\nb"]);
        written.cut(2);
        written.gain(b"c\n");
        assert_eq!(written.behind(Some(1)), 0);
        assert_eq!(written.behind(Some(2)), 2);
        assert_eq!(written.line(2), b"c");
        written.gain(b"lastwords-marker ab12 2\n");
        assert_eq!(written.behind(Some(2)), 4, "it came after all");
    }
}
