//! The second, lenient look at a payload that strict JSON refuses: bare `NaN`, `Infinity` and leading zeros.

use crate::wire::Mended;

/// Mends bare `NaN`, `Infinity` and leading zeros outside of texts.
pub(crate) fn mend(payload: &[u8]) -> (Vec<u8>, Mended) {
    let mut out = Vec::with_capacity(payload.len());
    let mut mended = Mended::default();
    let mut at = 0;
    while at < payload.len() {
        let rest = &payload[at..];
        if rest[0] == b'"' {
            let end = text_end(rest);
            out.extend_from_slice(&rest[..end]);
            at += end;
        } else if let Some(length) = not_a_number(rest) {
            mended.not_a_number = true;
            // Driven over its range, which of leakage is the worst there is; NaN and -Infinity are not measured.
            let over = rest[0].eq_ignore_ascii_case(&b'i');
            out.extend_from_slice(if over { b"1e300" } else { b"null" });
            at += length;
        } else if rest[0] == b'-' || rest[0].is_ascii_digit() {
            at += mend_number(rest, &mut out, &mut mended);
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    (out, mended)
}

/// Length of the text that starts here, quotes included; to the end when it is not closed.
fn text_end(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn not_a_number(rest: &[u8]) -> Option<usize> {
    let words: [&[u8]; 6] = [b"NaN", b"nan", b"Infinity", b"-Infinity", b"inf", b"-inf"];
    let word = words.into_iter().filter(|word| rest.starts_with(word)).max_by_key(|word| word.len())?;
    let after = rest.get(word.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    after.then_some(word.len())
}

fn mend_number(rest: &[u8], out: &mut Vec<u8>, mended: &mut Mended) -> usize {
    let sign = usize::from(rest[0] == b'-');
    let number = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    let length = sign + rest[sign..].iter().take_while(number).count();
    let zeros =
        rest[sign..length].windows(2).take_while(|pair| pair[0] == b'0' && pair[1].is_ascii_digit()).count();
    mended.leading_zero |= zeros > 0;
    out.extend_from_slice(&rest[..sign]);
    out.extend_from_slice(&rest[sign + zeros..length]);
    length
}
