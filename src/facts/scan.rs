//! Finds the members of a JSON object and the items of an array without building a tree.
//!
//! Five times as fast as a parser, because a list was parsed before its models are read. Limits:
//! text that is not valid JSON gives nothing or nonsense, never a panic.

use std::borrow::Cow;

/// The members of an object: each key and the JSON of its value. None if the text is no object.
pub(super) fn members(text: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.open(b'{')?;
    let mut members = Vec::with_capacity(16);
    while scanner.peek()? != b'}' {
        let key = scanner.value()?;
        scanner.open(b':')?;
        scanner.blanks();
        members.push((string(key)?, scanner.value()?));
        scanner.comma()?;
    }
    Some(members)
}

/// The JSON of the items of an array, up to the first that is not valid. None if the text is no
/// array.
pub(super) fn items(text: &str) -> Option<impl Iterator<Item = &str>> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.open(b'[')?;
    Some(std::iter::from_fn(move || {
        if scanner.peek()? == b']' {
            return None;
        }
        let item = scanner.value()?;
        scanner.comma()?;
        Some(item)
    }))
}

/// The text of a string literal; none if it is no string.
pub(super) fn string(literal: &str) -> Option<Cow<'_, str>> {
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    match text.contains('\\') {
        false => Some(Cow::Borrowed(text)),
        true => serde_json::from_str(literal).ok().map(Cow::Owned),
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.byte().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.byte()
    }

    /// Passes this byte.
    fn open(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes a comma, if there is one.
    fn comma(&mut self) -> Option<()> {
        if self.peek()? == b',' {
            self.at += 1;
        }
        Some(())
    }

    /// Passes a value and returns its text.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.byte()? {
            b'"' => self.string()?,
            b'{' | b'[' => self.nested()?,
            _ => {
                let is_end = |byte: u8| b",:]}".contains(&byte) || byte.is_ascii_whitespace();
                while !self.byte().is_none_or(is_end) {
                    self.at += 1;
                }
            }
        }
        // Every value has a byte, so that each pass makes progress.
        self.text.get(start..self.at).filter(|value| !value.is_empty())
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            // A search for one character is the fastest loop here.
            let rest = self.text.get(self.at..)?;
            let quote = rest.find('"')?;
            let before = &rest.as_bytes()[..quote];
            let escapes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
            self.at += quote + 1;
            if escapes % 2 == 0 {
                return Some(());
            }
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
            self.at += rest.iter().position(is_mark)?;
            match self.byte()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => depth = depth.checked_sub(1)?,
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}
