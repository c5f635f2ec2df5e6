//! A1111's prompt syntax: text with weights. Knows no tokens.
//!
//! `(text)` weighs 1.1 times as much, `[text]` 1/1.1 times, `(text:1.3)` 1.3 times; brackets nest and multiply. A
//! backslash before a bracket or a backslash makes it plain text; before anything else it vanishes. `BREAK`, in
//! capitals and as a word of its own, ends a chunk. Source: the behaviour of `parse_prompt_attention` in
//! AUTOMATIC1111's stable-diffusion-webui 1.10, with which `tools/goldens/prompts.py` compares this parser.
//!
//! What A1111 does with brackets that do not match is part of the syntax, because prompts on the web rely on it:
//! an opening one without its partner reaches to the end; a closing one without its partner is text; round and
//! square brackets do not see each other. `BREAK` inside brackets takes their weight and so is a word.
//!
//! Deliberately plain text: A1111's prompt editing (`[from:to:0.5]`, `[one|other]`) and `AND`. Square brackets weigh
//! less there too; colons, bars, numbers and the word are text like any other. Where A1111 fails on a weight that is
//! no number (`(text:1.2.3)`), the colon and what follows it are text as well.

/// Largest weight, either sign: what half precision still bears after multiplication. A1111 has no limit.
const MAX_WEIGHT: f64 = 1000.0;

/// Brackets of one kind that lie inside one another and still weigh: 1.1 to the hundredth is beyond [`MAX_WEIGHT`].
/// It keeps the time proportional to the prompt's length.
const MAX_DEPTH: usize = 100;

/// Text and how much it weighs.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// As the tokenizer gets it: without the brackets and backslashes that had a meaning.
    pub text: String,
    /// 1 for plain text; −1000 to 1000.
    pub weight: f64,
}

impl Span {
    fn new(text: impl Into<String>, weight: f64) -> Self {
        Self { text: text.into(), weight }
    }

    /// Whether a new chunk begins here. The weight of −1 is A1111's mark for it.
    pub fn is_break(&self) -> bool {
        self.text == BREAK && self.weight == -1.0
    }
}

const BREAK: &str = "BREAK";

/// Takes a prompt apart. Neighbours have different weights; an empty prompt is one empty span.
pub fn parse(prompt: &str) -> Vec<Span> {
    let mut parser = Parser::default();
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '\\' => parser.escaped(rest),
            '(' => parser.open(Bracket::Round),
            '[' => parser.open(Bracket::Square),
            ')' => parser.close(Bracket::Round, 1.1, ")"),
            ']' => parser.close(Bracket::Square, 1.0 / 1.1, "]"),
            ':' => parser.colon(rest),
            _ => parser.run(rest),
        };
        rest = &rest[used..];
    }
    parser.finish()
}

#[derive(Clone, Copy)]
enum Bracket {
    Round,
    Square,
}

#[derive(Default)]
struct Parser {
    spans: Vec<Span>,
    /// For each kind of bracket, the spans at which the open ones begin.
    open: [Vec<usize>; 2],
}

impl Parser {
    /// Each of these takes something off the front and returns how many bytes that was.
    fn escaped(&mut self, rest: &str) -> usize {
        let next = rest[1..].chars().next().filter(|c| "()[]\\".contains(*c));
        self.text(next.map(String::from).unwrap_or_default());
        1 + next.map_or(0, char::len_utf8)
    }

    fn open(&mut self, bracket: Bracket) -> usize {
        self.open[bracket as usize].push(self.spans.len());
        1
    }

    fn close(&mut self, bracket: Bracket, factor: f64, closing: &str) -> usize {
        let depth = self.open[bracket as usize].len();
        match self.open[bracket as usize].pop() {
            Some(start) => self.weigh(start, depth, factor),
            None => self.text(closing),
        }
        closing.len()
    }

    /// `:1.3)` closes a bracket with a weight; any other colon is text.
    fn colon(&mut self, rest: &str) -> usize {
        match weight_and_bracket(rest) {
            Some((Some(factor), used)) if !self.open[Bracket::Round as usize].is_empty() => {
                self.close(Bracket::Round, factor, "");
                used
            }
            Some((_, used)) if self.open[Bracket::Round as usize].is_empty() => {
                self.text(&rest[..used]);
                used
            }
            _ => {
                self.text(":");
                1
            }
        }
    }

    /// Text up to the next character with a meaning, taken apart at each `BREAK`.
    fn run(&mut self, rest: &str) -> usize {
        let run = &rest[..rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len())];
        let (mut from, mut at) = (0, 0);
        while let Some(start) = run[at..].find(BREAK).map(|found| at + found) {
            at = start + BREAK.len();
            let touches = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            if touches(run[..start].chars().next_back()) || touches(run[at..].chars().next()) {
                continue;
            }
            self.text(run[from..start].trim_end_matches(is_space));
            self.spans.push(Span::new(BREAK, -1.0));
            at = run.len() - run[at..].trim_start_matches(is_space).len();
            from = at;
        }
        self.text(&run[from..]);
        run.len()
    }

    fn text(&mut self, text: impl Into<String>) {
        self.spans.push(Span::new(text, 1.0));
    }

    /// Multiplies everything from a bracket, which is the `depth`-th open one of its kind, to here.
    fn weigh(&mut self, start: usize, depth: usize, factor: f64) {
        if depth > MAX_DEPTH {
            return;
        }
        let factor = factor.clamp(-MAX_WEIGHT, MAX_WEIGHT);
        for span in &mut self.spans[start..] {
            span.weight = (span.weight * factor).clamp(-MAX_WEIGHT, MAX_WEIGHT);
        }
    }

    fn finish(mut self) -> Vec<Span> {
        // Outermost first, round ones before square ones: in floating point the order shows in the last digit, and
        // equal weights are joined below.
        for (bracket, factor) in [(Bracket::Round, 1.1), (Bracket::Square, 1.0 / 1.1)] {
            for (outside, start) in std::mem::take(&mut self.open[bracket as usize]).into_iter().enumerate() {
                self.weigh(start, outside + 1, factor);
            }
        }
        // The tokenizer sees neighbours of equal weight as one text: a word may go on across a bracket.
        let mut joined: Vec<Span> = Vec::new();
        for span in self.spans {
            match joined.last_mut() {
                Some(last) if last.weight == span.weight => last.text.push_str(&span.text),
                _ => joined.push(span),
            }
        }
        if joined.is_empty() {
            joined.push(Span::new("", 1.0));
        }
        joined
    }
}

/// `: 1.3 )` at the front: the number, if it is one, and the bytes up to and including the bracket.
fn weight_and_bracket(rest: &str) -> Option<(Option<f64>, usize)> {
    let number = rest.strip_prefix(':')?.trim_start_matches(is_space);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let after = digits.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if after.len() == digits.len() {
        return None;
    }
    let end = after.trim_start_matches(is_space).strip_prefix(')')?;
    Some((number[..number.len() - after.len()].parse().ok(), rest.len() - end.len()))
}

/// What Python's regular expressions take for white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn spans(prompt: &str) -> Vec<(String, f64)> {
        parse(prompt).into_iter().map(|span| (span.text, span.weight)).collect()
    }

    fn plain(text: &str) -> Vec<(String, f64)> {
        vec![(text.to_owned(), 1.0)]
    }

    #[test]
    fn old_syntax_is_text() {
        assert_eq!(spans("a AND b | c"), plain("a AND b | c"));
        assert_eq!(spans("[a:b:0.5]"), [("a:b:0.5".to_owned(), 1.0 / 1.1)]);
        assert_eq!(spans("[a|b]"), [("a|b".to_owned(), 1.0 / 1.1)]);
    }

    #[test]
    fn a_weight_that_is_no_number_is_text() {
        assert_eq!(spans("(a:1.2.3)"), [("a:1.2.3".to_owned(), 1.1)]);
        assert_eq!(spans("(a:.)"), [("a:.".to_owned(), 1.1)]);
        assert_eq!(spans("(a:1e9)"), [("a:1e9".to_owned(), 1.1)]);
        assert_eq!(spans("a:1.2.3)"), plain("a:1.2.3)"));
    }

    #[test]
    fn weights_stay_finite() {
        let nines = "9".repeat(400);
        for prompt in [format!("(a:{nines})"), format!("((a:{nines}):-{nines})"), "(".repeat(5000) + "a"] {
            let found = parse(&prompt);
            assert!(
                found.iter().all(|span| span.weight.abs() <= MAX_WEIGHT && span.weight != 0.0),
                "{found:?}"
            );
        }
    }

    /// Each of these would take minutes if any part looked at the whole prompt again for each character.
    #[test]
    fn long_prompts_take_no_time() {
        let length = 400_000;
        for part in [
            "(", "(a", "[(", ")", ":", ": ", "(a:", ":1", "\\", "BREAK ", "(BREAK", "xBREAK", "(a:1.1)",
            "é(] ",
        ] {
            let prompt = part.repeat(length / part.len());
            let start = Instant::now();
            let found = parse(&prompt);
            let seconds = start.elapsed().as_secs_f64();
            assert!(!found.is_empty() && seconds < 10.0, "{part:?} took {seconds} s");
        }
    }

    proptest! {
        #[test]
        fn anything_is_a_prompt(prompt in "\\PC{0,200}|([(\\[\\])\\\\:.0-9 +-]|BREAK|word|é|\u{1f3a8}){0,80}") {
            let found = parse(&prompt);
            prop_assert!(!found.is_empty());
            prop_assert!(found.iter().all(|span| span.weight.is_finite() && span.weight.abs() <= MAX_WEIGHT));
            prop_assert!(found.windows(2).all(|pair| pair[0].weight != pair[1].weight));
            let length: usize = found.iter().map(|span| span.text.len()).sum();
            prop_assert!(length <= prompt.len());
        }

        #[test]
        fn escaped_text_is_plain(text in "[a-z()\\[\\]\\\\ ]{1,60}") {
            let escaped: String = text
                .chars()
                .flat_map(|c| "()[]\\".contains(c).then_some('\\').into_iter().chain([c]))
                .collect();
            prop_assert_eq!(spans(&escaped), plain(&text));
        }
    }
}
