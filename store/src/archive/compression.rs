//! Compression of archives.

use std::io::{self, BufRead, BufReader, Read, Write};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd, with windows of any size.
    Zstd,
}

/// Decoders look at this much at a time.
const BUFFER: usize = 256 << 10;
/// The largest window that is accepted, as a power of two: that of `zstd --long=31`.
const LARGEST_WINDOW: u32 = 31;
/// The level that tools use when nobody says.
const ZSTD_LEVEL: i32 = 3;

/// Decompresses `source`, and detects its format from the first bytes.
pub fn decompress_stream<'a>(
    source: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    Ok(match *source.fill_buf()? {
        [0x1F, 0x8B, ..] => (
            Compression::Gzip,
            Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        ),
        // A frame, or one to be skipped, as parallel compressors put first.
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(LARGEST_WINDOW)?;
            (Compression::Zstd, Box::new(decoder))
        }
        _ => (Compression::None, Box::new(source)),
    })
}

/// Passes a writer to `write`, whose bytes reach `out` compressed; the output depends only on the
/// input.
pub fn compress_stream<T, E: From<io::Error>>(
    compression: Compression,
    mut out: impl Write,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let written;
    match compression {
        Compression::None => {
            let mut buffered = io::BufWriter::with_capacity(BUFFER, &mut out);
            written = write(&mut buffered)?;
            buffered.flush()?;
        }
        Compression::Gzip => {
            // No time and no system in the header: they would make every archive another.
            let mut encoder = flate2::GzBuilder::new()
                .mtime(0)
                .operating_system(255)
                .write(&mut out, flate2::Compression::default());
            written = write(&mut encoder)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut out, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            written = write(&mut encoder)?;
            encoder.finish()?;
        }
    }
    out.flush()?;
    Ok(written)
}
