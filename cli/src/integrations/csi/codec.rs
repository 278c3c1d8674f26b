//! Encodes and decodes messages for tonic.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A codec that sends `Sent` and receives `Received`.
#[derive(Debug)]
pub(crate) struct Messages<Sent, Received>(PhantomData<fn(Sent) -> Received>);

impl<Sent, Received> Messages<Sent, Received> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Sent, Received> Codec for Messages<Sent, Received>
where
    Sent: Message + 'static,
    Received: Message + Default + 'static,
{
    type Encode = Sent;
    type Decode = Received;
    type Encoder = Half<Sent>;
    type Decoder = Half<Received>;

    fn encoder(&mut self) -> Self::Encoder {
        Half(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Half(PhantomData)
    }
}

/// One direction of a codec.
#[derive(Debug)]
pub(crate) struct Half<T>(PhantomData<fn(T)>);

impl<T: Message> Encoder for Half<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(buffer)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl<T: Message + Default> Decoder for Half<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::decode(buffer)
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
