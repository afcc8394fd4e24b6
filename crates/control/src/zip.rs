//! ZIP archives of evidence: written as a stream, and read back, in constant memory.

use model::{Error, ErrorKind, Result, Timestamp};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zip::result::ZipError;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipArchive};

/// Files of an archive at most.
const FILES: usize = 10_000;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// A file that may become longer than this gets the large form (ZIP64). Deflating makes hardly anything longer by more than
/// a thousandth.
const LARGE: u64 = 4_000_000_000;

/// An archive. It may come from anybody.
pub struct ZipReader<R> {
    archive: ZipArchive<R>,
    files: BTreeMap<String, u64>,
}

impl<R: Read + Seek> ZipReader<R> {
    /// Reads the directory.
    ///
    /// # Errors
    /// It is no ZIP archive, or one that programs would read in different ways.
    pub fn open(source: R) -> Result<Self> {
        let mut archive = ZipArchive::new(source).map_err(broken)?;
        if archive.len() > FILES {
            return Err(not_whole("it has more files than an evidence package"));
        }
        archive.validate_header_consistency().map_err(broken)?;
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let file = archive.by_index_raw(index).map_err(broken)?;
            files.insert(file.name().map_err(broken)?.into_owned(), file.size());
        }
        Ok(Self { archive, files })
    }

    /// The length of each of its files in bytes, as the archive says, by name.
    pub fn files(&self) -> &BTreeMap<String, u64> {
        &self.files
    }

    /// Whether it has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The content of a file. The last read fails if it is not the one that the archive was made of.
    ///
    /// # Errors
    /// There is no such file; the archive is broken.
    pub fn read(&mut self, name: &str) -> Result<impl Read + '_> {
        let file = self.archive.by_name(name).map_err(|error| broken(error).with("file", name))?;
        Ok(BufReader::with_capacity(CHUNK, file))
    }

    /// The same, of an archive of which nothing else is read. Its checksum is not compared: the manifest has a better one.
    ///
    /// # Errors
    /// As [`ZipReader::read`].
    pub fn into_file(mut self, name: &str) -> Result<Box<dyn Read>>
    where
        R: 'static,
    {
        let file = self.archive.by_name(name).map_err(|error| broken(error).with("file", name))?;
        let (begin, packed, method) = (file.data_start(), file.compressed_size(), file.compression());
        drop(file);
        let mut source = self.archive.into_inner();
        let begin = begin.ok_or_else(|| not_whole("a file is not where its directory says"))?;
        source.seek(SeekFrom::Start(begin)).map_err(unreadable)?;
        let packed = BufReader::with_capacity(CHUNK, source.take(packed));
        match method {
            CompressionMethod::Stored => Ok(Box::new(packed)),
            CompressionMethod::Deflated => Ok(Box::new(flate2::bufread::DeflateDecoder::new(packed))),
            _ => Err(not_whole("a file is packed in a way that packages do not use")),
        }
    }

    /// The whole of a small file.
    ///
    /// # Errors
    /// As [`ZipReader::read`]; it is longer than `most` bytes.
    pub fn read_small(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(name)?.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > most {
            return Err(not_whole("one of its small files is too long").with("file", name));
        }
        Ok(bytes)
    }
}

/// An archive that is being written. One that is not finished has no directory, so that programs refuse it.
pub(crate) struct ZipWriter<W: Write> {
    /// Dropped before the archive.
    given_up: GivesUp,
    zip: zip::ZipWriter<StreamWriter<Until<W>>>,
    options: SimpleFileOptions,
}

/// Takes bytes until the archive is given up: the library writes the directory of every archive that it drops.
struct Until<W> {
    inner: W,
    is_given_up: Arc<AtomicBool>,
}

/// Gives up an archive that is not finished.
struct GivesUp(Arc<AtomicBool>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<W: Write> Write for Until<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.is_given_up.load(Ordering::Relaxed) {
            true => Ok(bytes.len()),
            false => self.inner.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> ZipWriter<W> {
    /// An archive whose files have this time.
    pub(crate) fn new(out: W, time: Timestamp) -> Self {
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = GivesUp(Arc::clone(&is_given_up));
        // A year that DOS cannot write stands as 1980.
        let time = DateTime::try_from(time.naive_utc()).unwrap_or_default();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(time)
            .unix_permissions(0o644);
        let zip = zip::ZipWriter::new_stream(Until { inner: out, is_given_up });
        Self { given_up, zip, options }
    }

    /// Adds a file of about this length. Returns its length.
    pub(crate) fn add(&mut self, name: &str, content: impl Read, about: u64) -> io::Result<u64> {
        self.zip.start_file(name, self.options.large_file(about >= LARGE))?;
        io::copy(&mut BufReader::with_capacity(CHUNK, content), &mut self.zip)
    }

    /// Writes the directory.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Self { given_up, zip, .. } = self;
        zip.finish()?.flush()?;
        drop(given_up);
        Ok(())
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::local_io("read an evidence package", error)
}

fn broken(error: ZipError) -> Error {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => unreadable(error),
        error => not_whole("it cannot be read").caused_by(error),
    }
}

fn not_whole(reason: &'static str) -> Error {
    Error::permanent(ErrorKind::IntegrityFailed, "read an evidence package")
        .with("reason", reason)
        .advice("the file is not a whole ZIP archive as Waybill writes it: save it again")
}

#[cfg(test)]
mod tests;
