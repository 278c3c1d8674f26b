//! Advice for the user.

use serde::{Deserialize, Serialize};

/// A remedy for an error. This crate knows no commands and no options: the command line words each
/// variant, and other programs can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hint {
    /// Advice that names no command and no option of the command line.
    Text(String),
    /// Name the Azure storage account.
    SetAzureAccount,
    /// Name the region of the bucket.
    SetRegion,
    /// The bucket is in another region than the configured one.
    SetBucketRegion,
    /// Name the role, or leave out the options that belong to it.
    SetRole,
    /// Name the directory that was archived.
    NameArchivedDirectory,
    /// Raise the limit of an import.
    RaiseArchiveLimit,
    /// An object could not be read, so a repair leaves it.
    FixRemoteAndCheck,
    /// A repair removes the object.
    RepairObject,
    /// A repair of all scopes drops the keys that need the pack, and deletes it.
    RepairPack,
    /// A repair drops the keys that need the object.
    RepairKeys,
    /// Replace the running daemon by this version.
    UpgradeDaemon,
    /// Allow more descriptors, or restore without a daemon.
    RaiseDescriptorLimit,
    /// Use the running daemon, or stop it.
    StopDaemon,
    /// Restore the paths of a daemon that is gone, with their changes.
    RestoreMountsAgain,
    /// Use another store, or check who created the socket.
    CheckSocketOwner,
    /// End the processes that use a mount, or detach it lazily.
    UnmountLazily,
    /// Look for the processes that use a mount as root of the host.
    FindHolders,
    /// End the use of a mount in a container, or detach it lazily.
    DetachLazily,
    /// Run as root, or in the user namespace of rootless podman.
    RunInPodmanNamespace,
    /// Name a directory.
    NameDirectory,
    /// List the mounts, and use the store of the restore.
    ListMounts,
    /// Unmount the other mount first.
    UnmountFirst,
    /// Share a daemon of the host, and mount its socket.
    ShareDaemon,
    /// Read the daemon's log, and check the machine.
    SeeDaemonLog,
    /// Drop the keys that need lost objects, and remove the cause.
    RepairLostKeys,
    /// The mount is worthless: unmount it, fill the path, and save again.
    RefillPath,
    /// Drop the keys that need damaged data.
    RepairDamage,
    /// Collect nearer to the remote, or with a longer grace period.
    RaiseGracePeriod,
    /// Remove or exclude a directory.
    ExcludeDirectory,
    /// Check the credentials.
    CheckCredentials,
    /// Correct the remote.
    CorrectRemote,
    /// Try again, and check the data.
    CheckData,
    /// Check the address and the network, or allow more time.
    RaiseTimeout,
    /// Check the address of the remote.
    CheckRemote,
    /// Update the program, or use another store.
    UpdateOrOtherStore,
    /// Use another store.
    OtherStore,
    /// Run as root, or keep the calling user as owner.
    CopyAsRoot,
    /// End the share, or use another path.
    EndShareOrMove,
    /// End the share first.
    EndShare,
    /// Unmount the path and restore it again.
    UnmountAndRestore,
    /// List the shares.
    ListShares,
    /// Use a store of your own.
    UseOwnStore,
    /// Unmount other paths.
    UnmountSome,
    /// Name the store instead of a share.
    UseStoreInsteadOfShare,
    /// List the restored paths, or compare a directory without saving it.
    ListRestores,
    /// Remove and fill the directory again, or forget the restore.
    RefillOrForget,
    /// Use the store of the restore.
    UseStoreOfRestore,
    /// Restore the path again, or forget it.
    RestoreOrForget,
    /// Restore the path again with its changes.
    RestoreKeepingChanges,
    /// Unmount first, or force the end of the daemon.
    UnmountBeforeStop,
    /// Grant a permission, or use a scope that the credentials may use.
    GrantPermission {
        /// The missing permission, such as `s3:GetObject`.
        permission: String,
        /// The object.
        object: String,
    },
    /// Name the directory as it is called in the archive.
    NameDirectoryInArchive {
        /// A member of the archive.
        member: String,
    },
    /// End what uses a path, or detach it lazily, and restore again.
    UnmountLazilyAndRestore {
        /// The path.
        path: String,
    },
}

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
