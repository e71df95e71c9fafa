//! Headers of CBOR one after the other, over the payload itself: nothing is copied, nothing allocated.

use ciborium_ll::{Decoder, Header};
use lampguard_model::units::Decimal;
use lampguard_model::wire::Refusal;

use super::senml::CBOR_NESTING_MAX;

/// A payload and how far it was read.
pub(super) struct Cbor<'p> {
    bytes: &'p [u8],
    at: usize,
}

/// A value that a record may hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'p> {
    Number(Decimal),
    Bool(bool),
    Text(&'p str),
    Null,
    /// Bytes, lists, objects, numbers that are none: read over.
    Other,
}

impl<'p> Cbor<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn pull(&mut self) -> Result<Header, Refusal> {
        let mut decoder = Decoder::from(&self.bytes[self.at..]);
        let header = decoder.pull().map_err(|_| Refusal::Format)?;
        self.at += decoder.offset();
        Ok(header)
    }

    /// The next bytes, which a header has promised.
    fn take(&mut self, length: usize) -> Result<&'p [u8], Refusal> {
        let end =
            self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(Refusal::Format)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A text whose length its header told. Texts in pieces are read over: no sensor sends them.
    /// What is not UTF-8 is no text, and costs nothing beside itself.
    fn text(&mut self, length: usize) -> Result<Item<'p>, Refusal> {
        Ok(std::str::from_utf8(self.take(length)?).map_or(Item::Other, Item::Text))
    }

    /// A value.
    pub(super) fn item(&mut self, depth: usize) -> Result<Item<'p>, Refusal> {
        let header = self.pull()?;
        self.item_of(header, depth)
    }

    pub(super) fn item_of(&mut self, header: Header, depth: usize) -> Result<Item<'p>, Refusal> {
        if depth > CBOR_NESTING_MAX {
            return Err(Refusal::Nesting);
        }
        Ok(match header {
            Header::Positive(number) => Item::Number(whole(i128::from(number))),
            Header::Negative(number) => Item::Number(whole(-1 - i128::from(number))),
            Header::Float(number) => Decimal::from_float(number).map_or(Item::Null, Item::Number),
            Header::Simple(20) => Item::Bool(false),
            Header::Simple(21) => Item::Bool(true),
            Header::Simple(_) => Item::Null,
            Header::Text(Some(length)) => self.text(length)?,
            Header::Bytes(Some(length)) => {
                self.take(length)?;
                Item::Other
            }
            // A decimal fraction, RFC 8949 section 3.4.4: exponent, mantissa.
            Header::Tag(4) => self.fraction(depth)?,
            Header::Tag(_) => self.item(depth + 1)?,
            Header::Text(None) | Header::Bytes(None) => self.skip(None, 1, depth)?,
            Header::Array(length) => self.skip(length, 1, depth)?,
            Header::Map(length) => self.skip(length, 2, depth)?,
            Header::Break => return Err(Refusal::Format),
        })
    }

    fn fraction(&mut self, depth: usize) -> Result<Item<'p>, Refusal> {
        if self.pull()? != Header::Array(Some(2)) {
            return Err(Refusal::Format);
        }
        let (exponent, mantissa) = (self.item(depth + 1)?, self.item(depth + 1)?);
        let (Item::Number(exponent), Item::Number(mantissa)) = (exponent, mantissa) else {
            return Ok(Item::Other);
        };
        let number = Decimal::parse(&format!("1e{exponent}")).and_then(|power| mantissa.times(power));
        Ok(number.map_or(Item::Other, Item::Number))
    }

    /// Reads over so many items, or up to the break.
    fn skip(&mut self, length: Option<usize>, each: usize, depth: usize) -> Result<Item<'p>, Refusal> {
        let mut left = length.map(|length| length.saturating_mul(each));
        while left != Some(0) {
            let header = self.pull()?;
            if left.is_none() && header == Header::Break {
                break;
            }
            self.item_of(header, depth + 1)?;
            left = left.map(|left| left - 1);
        }
        Ok(Item::Other)
    }
}

fn whole(number: i128) -> Decimal {
    // Beyond 64 bits nothing was measured; the text keeps what a float would round.
    i64::try_from(number)
        .map_or_else(|_| Decimal::parse(&number.to_string()).unwrap_or(Decimal::ZERO), Decimal::whole)
}
