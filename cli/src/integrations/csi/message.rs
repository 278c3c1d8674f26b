//! Declares structs as Protocol Buffers messages with field numbers, on top of prost's encoding.
//!
//! prost's derive does the same, but adds a dependency whose features rebuild the bindings of
//! RocksDB.

/// Declares messages. A field is `NUMBER => VISIBILITY NAME: TYPE [SORT]`, where a sort is
/// `plain TYPE` for a scalar that is left out when it is zero, `optional` for a message, `repeated
/// string`, `repeated message`, or `map` for one of strings.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($tag:literal => $field_vis:vis $field:ident: $type:ty [$($sort:tt)+]),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq)]
        $vis struct $name {
            $($field_vis $field: $type,)*
        }

        impl prost::Message for $name {
            fn encode_raw(&self, buffer: &mut impl prost::bytes::BufMut) {
                let _ = &buffer;
                $(super::message::field!(encode [$($sort)+] $tag, self.$field, buffer);)*
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: prost::encoding::WireType,
                buffer: &mut impl prost::bytes::Buf,
                context: prost::encoding::DecodeContext,
            ) -> Result<(), prost::DecodeError> {
                match tag {
                    $($tag => super::message::field!(
                        merge [$($sort)+] self.$field, wire_type, buffer, context
                    ),)*
                    _ => prost::encoding::skip_field(wire_type, tag, buffer, context),
                }
            }

            fn encoded_len(&self) -> usize {
                0 $(+ super::message::field!(length [$($sort)+] $tag, self.$field))*
            }

            fn clear(&mut self) {
                *self = Self::default();
            }
        }
    )*};
}

/// Generates the code for a field of each kind.
macro_rules! field {
    (encode [plain $of:ident] $tag:literal, $value:expr, $buffer:ident) => {
        if !super::message::is_zero(&$value) {
            prost::encoding::$of::encode($tag, &$value, $buffer);
        }
    };
    (encode [optional] $tag:literal, $value:expr, $buffer:ident) => {
        if let Some(value) = &$value {
            prost::encoding::message::encode($tag, value, $buffer);
        }
    };
    (encode [repeated $of:ident] $tag:literal, $value:expr, $buffer:ident) => {
        prost::encoding::$of::encode_repeated($tag, &$value, $buffer)
    };
    (encode [map] $tag:literal, $value:expr, $buffer:ident) => {
        prost::encoding::btree_map::encode(
            prost::encoding::string::encode,
            prost::encoding::string::encoded_len,
            prost::encoding::string::encode,
            prost::encoding::string::encoded_len,
            $tag,
            &$value,
            $buffer,
        )
    };
    (merge [plain $of:ident] $value:expr, $wire:ident, $buffer:ident, $context:ident) => {
        prost::encoding::$of::merge($wire, &mut $value, $buffer, $context)
    };
    (merge [optional] $value:expr, $wire:ident, $buffer:ident, $context:ident) => {{
        let value = $value.get_or_insert_with(Default::default);
        prost::encoding::message::merge($wire, value, $buffer, $context)
    }};
    (merge [repeated $of:ident] $value:expr, $wire:ident, $buffer:ident, $context:ident) => {
        prost::encoding::$of::merge_repeated($wire, &mut $value, $buffer, $context)
    };
    (merge [map] $value:expr, $wire:ident, $buffer:ident, $context:ident) => {{
        let _ = $wire;
        prost::encoding::btree_map::merge(
            prost::encoding::string::merge,
            prost::encoding::string::merge,
            &mut $value,
            $buffer,
            $context,
        )
    }};
    (length [plain $of:ident] $tag:literal, $value:expr) => {
        if !super::message::is_zero(&$value) {
            prost::encoding::$of::encoded_len($tag, &$value)
        } else {
            0
        }
    };
    (length [optional] $tag:literal, $value:expr) => {
        $value.as_ref().map_or(0, |value| {
            prost::encoding::message::encoded_len($tag, value)
        })
    };
    (length [repeated $of:ident] $tag:literal, $value:expr) => {
        prost::encoding::$of::encoded_len_repeated($tag, &$value)
    };
    (length [map] $tag:literal, $value:expr) => {
        prost::encoding::btree_map::encoded_len(
            prost::encoding::string::encoded_len,
            prost::encoding::string::encoded_len,
            $tag,
            &$value,
        )
    };
}

pub(crate) use {field, message};

/// Whether a scalar has its default value, which is omitted from the wire.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
