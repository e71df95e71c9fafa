//! How groups of rules are declared: struct, default, sample text and walk come from one place, so that
//! none of them can forget a number.

use super::number::Number;

/// In which direction a number may not go without an accepted reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Above the default it protects less.
    Most,
    /// Below the default it protects less.
    Least,
}

/// What is known of one number besides its value.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Table of the file.
    pub group: &'static str,
    /// Key in it.
    pub name: &'static str,
    /// What it means and where it comes from, line by line.
    pub docs: &'static [&'static str],
    /// A weaker setting needs an accepted reason.
    pub floor: Option<Floor>,
}

impl Rule {
    /// `group.name`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.group, self.name)
    }
}

/// Sees a number and may change it.
pub(super) type See<'a> = dyn FnMut(Rule, &mut dyn Number) + 'a;

/// A table of the file.
pub(super) trait Group {
    /// What it is about, line by line.
    const DOCS: &'static [&'static str];
    /// Shows every number, in the order of the file.
    fn each(&mut self, group: &'static str, see: &mut See<'_>);
}

macro_rules! floor {
    () => {
        None
    };
    (most) => {
        Some($crate::policy::Floor::Most)
    };
    (least) => {
        Some($crate::policy::Floor::Least)
    };
}

/// Groups of rules: `/// doc`, then `name: Type = default,` per number; `@most` or `@least` before a name
/// marks a floor.
macro_rules! groups {
    ($(
        $(#[doc = $about:literal])+
        $group:ident {
            $( $(#[doc = $doc:literal])+ $(@$floor:ident)? $name:ident: $type:ty = $default:expr, )+
        }
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $group {
            $( $(#[doc = $doc])+ pub $name: $type, )+
        }

        impl Default for $group {
            fn default() -> Self {
                Self { $( $name: $default, )+ }
            }
        }

        impl $crate::policy::rule::Group for $group {
            const DOCS: &'static [&'static str] = &[$($about),+];

            fn each(&mut self, group: &'static str, see: &mut $crate::policy::rule::See<'_>) {
                $( see(
                    $crate::policy::Rule {
                        group,
                        name: stringify!($name),
                        docs: &[$($doc),+],
                        floor: $crate::policy::rule::floor!($($floor)?),
                    },
                    &mut self.$name,
                ); )+
            }
        }
    )+};
}

/// The policy: every group under the name of its table.
macro_rules! policy {
    ($(#[$about:meta])* $name:ident { $( $field:ident: $group:ident, )+ }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(
                #[doc = concat!("`[", stringify!($field), "]`.")]
                pub $field: $group,
            )+
        }

        impl $name {
            /// Shows every number, in the order of the file, to be read or changed.
            pub fn each(&mut self, see: &mut dyn FnMut(Rule, &mut dyn Number)) {
                $( $crate::policy::rule::Group::each(&mut self.$field, stringify!($field), see); )+
            }

            /// Every table with what it is about, in the order of the file.
            pub const GROUPS: &'static [(&'static str, &'static [&'static str])] = &[
                $( (stringify!($field), <$group as $crate::policy::rule::Group>::DOCS), )+
            ];
        }
    };
}

pub(super) use {floor, groups, policy};
