//! Fields of a protobuf message one after the other, over the payload itself: nothing is copied, nothing allocated,
//! however many metrics a payload claims to have.

use lampguard_model::wire::Refusal;
use prost::encoding::{WireType, decode_key, decode_varint};

/// What is left of a message.
pub(super) struct Message<'p>(pub(super) &'p [u8]);

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'p> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'p [u8]),
}

impl<'p> Message<'p> {
    /// The next field and its number; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'p>)>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, wire) = decode_key(&mut self.0).map_err(|_| Refusal::Format)?;
        let field = match wire {
            WireType::Varint => Field::Varint(self.varint()?),
            WireType::SixtyFourBit => Field::Fixed64(self.fixed()?),
            WireType::ThirtyTwoBit => Field::Fixed32(self.fixed()?),
            WireType::LengthDelimited => {
                let length = usize::try_from(self.varint()?).map_err(|_| Refusal::Format)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Refusal::Format)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            // Groups went out of use before Sparkplug began.
            WireType::StartGroup | WireType::EndGroup => return Err(Refusal::Format),
        };
        Ok(Some((number, field)))
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        decode_varint(&mut self.0).map_err(|_| Refusal::Format)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Refusal::Format)?;
        self.0 = rest;
        Ok(*bytes)
    }
}

impl<'p> Field<'p> {
    pub(super) fn number(self) -> Option<u64> {
        if let Self::Varint(number) = self { Some(number) } else { None }
    }

    pub(super) fn text(self) -> Option<&'p str> {
        if let Self::Bytes(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }
}
