//! A view as one file, the image of its stack, which the kernel mounts by itself.

use std::ffi::OsStr;
use std::sync::mpsc::SyncSender;
use std::time::UNIX_EPOCH;

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, ReplyStatfs, Request,
};
use tokio::runtime::Handle;

use super::shared_replies::{self, FOREVER};
use super::{IMAGE, SharedView, file_read};
use crate::erofs::Image;
use crate::sys::crash_record;

const ROOT: INodeNo = INodeNo(1);
/// The image's inode.
pub(super) const IMAGE_INODE: INodeNo = INodeNo(2);

pub(super) struct ImageFs {
    view: SharedView,
    runtime: Handle,
    /// Signals once that the kernel knows the image's inode and accepts pages; `None` afterwards.
    known: Option<SyncSender<()>>,
}

fn image_attr(ino: INodeNo) -> Option<FileAttr> {
    let (kind, perm, size) = match ino {
        ROOT => (FileType::Directory, 0o755, 0),
        IMAGE_INODE => (FileType::RegularFile, 0o400, Image::LENGTH),
        _ => return None,
    };
    Some(FileAttr {
        ino,
        size,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

impl ImageFs {
    pub(super) fn new(view: SharedView, runtime: Handle, known: Option<SyncSender<()>>) -> Self {
        Self {
            view,
            runtime,
            known,
        }
    }
}

impl Filesystem for ImageFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        shared_replies::negotiate_protocol(config, InitFlags::FUSE_NO_OPEN_SUPPORT);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match image_attr(IMAGE_INODE) {
            Some(attr) if parent == ROOT && name == IMAGE => {
                reply.entry(&FOREVER, &attr, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {}

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match image_attr(ino) {
            Some(attr) => reply.attr(&FOREVER, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _at_work = crash_record::note_work(self.view.number);
        if ino != IMAGE_INODE {
            return reply.error(Errno::EISDIR);
        }
        // The first one counts; a full or closed channel means that it came earlier.
        if let Some(known) = &self.known {
            let _ = known.try_send(());
        }
        let range = offset.min(Image::LENGTH)..(offset + u64::from(size)).min(Image::LENGTH);
        let Some(image) = &self.view.image else {
            return reply.error(Errno::EIO);
        };
        let plan = match image.parts(&self.view.stack, range) {
            Ok(parts) => file_read::ReadPlan::of_image(&self.view, parts),
            Err(error) => {
                return reply.error(shared_replies::errno_of(
                    &self.view,
                    "laying out the image",
                    error,
                ));
            }
        };
        match plan {
            Ok(plan) => {
                shared_replies::answer_read(&self.view, &self.runtime, request, plan, reply)
            }
            Err(error) => reply.error(shared_replies::errno_of(&self.view, "read", &error)),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = [
            (ROOT, FileType::Directory, "."),
            (ROOT, FileType::Directory, ".."),
            (IMAGE_INODE, FileType::RegularFile, IMAGE),
        ];
        for (number, (ino, kind, name)) in (1..).zip(entries).skip(offset as usize) {
            if reply.add(ino, number, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        shared_replies::answer_statfs(&self.view, reply);
    }
}
