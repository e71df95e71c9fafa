//! Frames of bytes: as the payload itself, or as hexadecimal or base64 text inside JSON.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lampguard_model::units::Decimal;
use lampguard_model::wire::{self, Mended, Refusal};
use lampguard_model::{Marks, Reading};
use serde_json::Value as Json;

use super::slot::Raw;
use super::{Device, Profile, Work, finish};

/// Longest frame: Modbus allows 256 bytes, other lines a little more.
pub const FRAME_MAX: usize = 1024;

/// With and without padding: devices write both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    Hex,
    Base64,
}

impl Encoding {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Self::Raw),
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }
}

/// What every frame of a profile has.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) paths: Vec<String>,
    pub(super) encoding: Encoding,
    pub(super) crc: bool,
    pub(super) length: Option<usize>,
    /// `None` is any byte.
    pub(super) starts: Vec<Option<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unsigned,
    Signed,
    Float,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Big,
    Little,
    /// Words in big endian, the low word first: how many meters send 32 bits over Modbus.
    Swapped,
}

/// The form of one value in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    form: Form,
    width: usize,
    order: Order,
}

impl Word {
    pub(super) fn from_names(form: &str, order: Option<&str>) -> Option<Self> {
        let (form, width) = match form {
            "u8" => (Form::Unsigned, 1),
            "u16" => (Form::Unsigned, 2),
            "u32" => (Form::Unsigned, 4),
            "i8" => (Form::Signed, 1),
            "i16" => (Form::Signed, 2),
            "i32" => (Form::Signed, 4),
            "f32" => (Form::Float, 4),
            _ => return None,
        };
        let order = match order {
            None | Some("big") => Order::Big,
            Some("little") => Order::Little,
            Some("swapped") if width == 4 => Order::Swapped,
            _ => return None,
        };
        Some(Self { form, width, order })
    }

    pub(super) fn width(self) -> usize {
        self.width
    }

    /// The same bytes as bits: a sign has no meaning there.
    pub(super) fn of_bits(self) -> Self {
        let form = if self.form == Form::Signed { Form::Unsigned } else { self.form };
        Self { form, ..self }
    }

    /// The value of these bytes.
    pub(super) fn read(self, bytes: &[u8]) -> Raw<'static> {
        let mut big = [0u8; 4];
        let Some(place) = big.get_mut(4 - self.width.min(4)..).filter(|place| place.len() == bytes.len())
        else {
            return Raw::Other;
        };
        place.copy_from_slice(bytes);
        match self.order {
            Order::Big => {}
            Order::Little => place.reverse(),
            Order::Swapped => big = [big[2], big[3], big[0], big[1]],
        }
        let bits = u32::from_be_bytes(big);
        let all = u32::MAX >> (32 - 8 * self.width as u32);
        match self.form {
            // One byte has few values to spare: 255 may well be measured.
            Form::Unsigned if self.width > 1 && bits == all => {
                Raw::AllOnes(Some(Decimal::whole(i64::from(bits))))
            }
            Form::Unsigned => Raw::Number(Decimal::whole(i64::from(bits))),
            Form::Signed => {
                let high = 1u32 << (8 * self.width as u32 - 1);
                let value =
                    if bits & high == 0 { i64::from(bits) } else { i64::from(bits) - i64::from(all) - 1 };
                // The greatest and the lowest number of a word: drivers say by them that nothing was read.
                if self.width > 1 && (bits == high || bits == high - 1) {
                    return Raw::AllOnes(Some(Decimal::whole(value)));
                }
                Raw::Number(Decimal::whole(value))
            }
            Form::Float if bits == u32::MAX => Raw::AllOnes(None),
            Form::Float => Raw::single(f32::from_bits(bits)),
        }
    }
}

/// Hexadecimal digits, with or without spaces and `0x`; `None` for anything else.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len().min(2 * FRAME_MAX) / 2);
    let mut high = None;
    for digit in text.chars().filter(|c| !matches!(c, ' ' | ':' | '-')) {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        match high.take() {
            None => high = Some(digit << 4),
            Some(_) if bytes.len() >= FRAME_MAX => return None,
            Some(high) => bytes.push(high | digit),
        }
    }
    high.is_none().then_some(bytes)
}

/// What frames begin with: hexadecimal digits, of which the pair `xx` is any byte.
pub(super) fn starts(text: &str) -> Option<Vec<Option<u8>>> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let pair = |pair: &[char]| match pair {
        ['x' | 'X', 'x' | 'X'] => Some(None),
        [high, low] => u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok().map(Some),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

/// CRC-16 of Modbus: polynomial 0xA001 (reflected 0x8005), start 0xFFFF.
/// Source: MODBUS over Serial Line, specification and implementation guide V1.02, section 6.2.2.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |mut crc: u16, byte| {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
        }
        crc
    })
}

impl Frame {
    fn decode(&self, text: &str) -> Result<Vec<u8>, Refusal> {
        let bytes = match self.encoding {
            Encoding::Base64 if text.len() <= 2 * FRAME_MAX => BASE64.decode(text.trim()).ok(),
            Encoding::Hex => hex(text),
            Encoding::Raw | Encoding::Base64 => None,
        };
        bytes.ok_or(Refusal::Format)
    }

    /// What every such frame has to be; told with what was found instead.
    fn check(&self, frame: &[u8], work: &mut Work<'_, '_>) -> Result<(), Refusal> {
        let mut refuse = |why: String, refusal| {
            if work.trace.is_some() {
                let shown: String = frame.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
                work.left(&"frame", &shown, &why);
            }
            Err(refusal)
        };
        if frame.is_empty() {
            return refuse("empty".to_owned(), Refusal::Empty);
        }
        let length = self.length.unwrap_or(frame.len());
        if frame.len() > FRAME_MAX || frame.len() != length {
            let found = frame.len();
            return refuse(
                format!("{found} bytes; the profile says {length}, {FRAME_MAX} at most"),
                Refusal::Format,
            );
        }
        if self.crc {
            let Some((body, sum)) = frame.split_last_chunk::<2>() else {
                return refuse("too short for a CRC16".to_owned(), Refusal::Format);
            };
            let (sum, right) = (u16::from_le_bytes(*sum), crc16(body));
            if sum != right {
                let why = format!("its CRC16 is {sum:04x}, its bytes give {right:04x}");
                return refuse(why, Refusal::Checksum);
            }
        }
        let fits = |(wanted, found): (&Option<u8>, &u8)| wanted.is_none_or(|wanted| wanted == *found);
        if frame.len() >= self.starts.len() && self.starts.iter().zip(frame).all(fits) {
            return Ok(());
        }
        let shown = |byte: &Option<u8>| byte.map_or_else(|| "xx".to_owned(), |byte| format!("{byte:02x}"));
        let starts: String = self.starts.iter().map(shown).collect();
        refuse(format!("does not begin with {starts} as the profile says"), Refusal::Format)
    }
}

impl Profile {
    pub(super) fn decode_frame(
        &self,
        frame: &Frame,
        work: &mut Work<'_, '_>,
        out: &mut Vec<Result<Reading, Refusal>>,
    ) -> Result<Mended, Refusal> {
        let payload = work.message.payload;
        if frame.paths.is_empty() {
            let text = || std::str::from_utf8(payload).map_err(|_| Refusal::Format);
            let bytes = match frame.encoding {
                Encoding::Raw if payload.len() > FRAME_MAX => return Err(Refusal::Format),
                Encoding::Raw => payload.to_vec(),
                _ => frame.decode(text()?)?,
            };
            out.push(self.reading_of_frame(frame, &bytes, None, work));
            return Ok(Mended::default());
        }
        let (json, mended) = wire::parse_json(payload)?;
        let found = frame.paths.iter().find_map(|path| json.pointer(path));
        let text = found.and_then(Json::as_str).ok_or(Refusal::NoMeasurement)?;
        found.inspect(|value| work.saw(value));
        let bytes = frame.decode(text)?;
        out.push(self.reading_of_frame(frame, &bytes, Some(&json), work));
        if work.trace.is_some() {
            self.tell_left(&json, "", None, work);
        }
        Ok(mended)
    }

    fn reading_of_frame(
        &self,
        frame: &Frame,
        bytes: &[u8],
        json: Option<&Json>,
        work: &mut Work<'_, '_>,
    ) -> Result<Reading, Refusal> {
        frame.check(bytes, work)?;
        let mut reading = self.blank();
        let mut read = vec![false; bytes.len()];
        let look = |paths: &'_ [String]| -> Option<(String, &Json)> {
            paths.iter().find_map(|path| Some((path.clone(), json?.pointer(path)?)))
        };
        let device = match &self.device {
            Device::Bytes(at, length) => {
                let name = bytes.get(*at..at.saturating_add(*length));
                name.map(|name| {
                    read[*at..at + length].fill(true);
                    name.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                })
            }
            device => {
                let found = look(device.paths());
                self.device_of_json(found.as_ref().map(|(path, value)| (path.as_str(), *value)), work)
            }
        };
        let mut take = |(at, word): (usize, Word)| {
            let end = at + word.width();
            let found = bytes.get(at..end)?;
            read[at..end].fill(true);
            Some((format!("bytes {at}..{end}"), word.read(found)))
        };
        for slot in &self.fields {
            let Some((place, raw)) = slot.place.and_then(&mut take) else { continue };
            let took = slot.put(&mut reading, raw, None);
            if let Some(trace) = &mut work.trace {
                trace.slot(&place, raw, slot, None, took);
            }
        }
        for slot in &self.flags {
            let Some((place, raw)) = slot.place.and_then(&mut take) else { continue };
            let set = slot.is_set(raw);
            if set {
                reading.flags.add(slot.flag);
            }
            work.taken_flag(&place, &raw, slot, set);
        }
        if let Some((paths, format)) = &self.time
            && let Some((path, value)) = look(paths)
        {
            work.saw(value);
            reading.ts = format.read(value);
            work.told_time(&path, value, reading.ts);
            if reading.ts.is_none() {
                reading.marks.add(Marks::CLOCK);
            }
        }
        if work.trace.is_some() {
            tell_left(frame, bytes, &mut read, work);
        }
        finish(reading, device)
    }
}

/// Tells of bytes that nobody looked at, stretch by stretch.
fn tell_left(frame: &Frame, bytes: &[u8], read: &mut [bool], work: &mut Work<'_, '_>) {
    let starts = frame.starts.len();
    read[..starts].fill(true);
    if starts > 0 {
        work.taken(&format_args!("bytes 0..{starts}"), &"", &"begins as the profile says");
    }
    if frame.crc {
        let body = bytes.len() - 2;
        read[body..].fill(true);
        work.taken(&format_args!("bytes {body}..{}", bytes.len()), &"", &"CRC16 is right");
    }
    let mut at = 0;
    for stretch in read.chunk_by(|a, b| a == b) {
        let end = at + stretch.len();
        if stretch.first() == Some(&false) {
            let shown: String = bytes[at..end].iter().map(|byte| format!("{byte:02x}")).collect();
            work.left(&format_args!("bytes {at}..{end}"), &shown, &"left: the profile names no field for it");
        }
        at = end;
    }
}
