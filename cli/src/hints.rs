//! The words for each hint of the libraries, with the commands and options of this program.

use cachefs_store::Hint;

/// Advice as text for the user.
pub(crate) fn word_hint(hint: &Hint) -> String {
    let text = match hint {
        Hint::Text(text) => text,
        Hint::SetAzureAccount => "pass --account, or set AZURE_STORAGE_ACCOUNT",
        Hint::SetRegion => "pass --region, or set AWS_REGION or `region` in the AWS profile",
        Hint::SetBucketRegion => "the bucket is in another region; set --region, or AWS_REGION",
        Hint::SetRole => {
            "--external-id and --role-session-name go with --role-arn; leave them out, or name the role"
        }
        Hint::NameArchivedDirectory => {
            "say with --path which directory was packed, or with --path-in-archive what it is called there"
        }
        Hint::RaiseArchiveLimit => "raise --max-size if that is what you expect",
        Hint::FixRemoteAndCheck => {
            "`--repair` leaves it alone; check the remote's configuration, then run the check again"
        }
        Hint::RepairObject => {
            "`cachefs check --repair` removes it; or delete the key, or save it again"
        }
        Hint::RepairPack => {
            "`cachefs check --read-data --repair --all-scopes` drops the keys that need it and deletes it; for one scope, only this machine then stores them whole"
        }
        Hint::RepairKeys => {
            "`cachefs check --repair` drops the keys that need it, so that the next save stores them whole"
        }
        Hint::UpgradeDaemon => {
            "have the daemon go on as this version with `cachefs daemon upgrade`"
        }
        Hint::RaiseDescriptorLimit => {
            "raise the hard limit (`ulimit -Hn`, `LimitNOFILE=` of a service, `--ulimit nofile=` of a container), or restore with --mode copy"
        }
        Hint::StopDaemon => "use it, or end it with `cachefs daemon stop`",
        Hint::RestoreMountsAgain => {
            "what it serves is mounted again, with the changes in it, by `cachefs restore --keep-changes` of its path"
        }
        Hint::CheckSocketOwner => "choose another --store, or find out how that came to be",
        Hint::UnmountLazily => "end these processes, or take it away with `cachefs umount --lazy`",
        Hint::FindHolders => {
            "a process that this user or container cannot see holds it; look as root on the host, or take it away with `cachefs umount --lazy`"
        }
        Hint::DetachLazily => {
            "end what uses it there, or take it away with `cachefs detach --lazy`"
        }
        Hint::RunInPodmanNamespace => {
            "run it as root on the host; for a container of rootless podman, as its user: podman unshare cachefs attach ..."
        }
        Hint::NameDirectory => "name the directory, such as --path ~/.m2",
        Hint::ListMounts => {
            "`cachefs stats` lists what is mounted; name the same --store as for restore"
        }
        Hint::UnmountFirst => "unmount that first, with `cachefs umount` if it is a cache",
        Hint::ShareDaemon => {
            "share it on the host with `cachefs daemon share`, and mount the socket here"
        }
        Hint::SeeDaemonLog => {
            "see `daemon.log` in the store directory; `cachefs doctor` checks this machine"
        }
        Hint::RepairLostKeys => {
            "`cachefs check --repair` drops the keys that need it; if a lifecycle rule deletes objects of the bucket, remove the rule and run `cachefs gc` instead"
        }
        Hint::RefillPath => {
            "nothing was saved; `cachefs umount` the path, fill it again, and save it"
        }
        Hint::RepairDamage => {
            "`cachefs check --read-data --repair` drops the keys that need it, so that the next save stores them whole; with `--all-scopes` it deletes damaged packs, too"
        }
        Hint::RaiseGracePeriod => {
            "nothing was removed; run it again nearer to the remote, or with a longer --grace"
        }
        Hint::ExcludeDirectory => {
            "remove the directory, or leave it out with an exclusion such as --path '!NAME'"
        }
        Hint::CheckCredentials => {
            "check the credentials and what they are allowed; `cachefs doctor` tries them"
        }
        Hint::CorrectRemote => "correct --remote; the first save makes a directory, but no bucket",
        Hint::CheckData => {
            "try again; if it stays, `cachefs check --read-data` shows what is damaged"
        }
        Hint::RaiseTimeout => "check the address and the network; --timeout gives it more time",
        Hint::CheckRemote => "check --remote and --endpoint; `cachefs doctor` tries them",
        Hint::UpdateOrOtherStore => "update cachefs, or choose another --store",
        Hint::OtherStore => "choose another --store",
        Hint::CopyAsRoot => {
            "run `cachefs restore` as root, or leave --owner out: what is copied is yours then"
        }
        Hint::EndShareOrMove => {
            "end that share first, with `cachefs daemon unshare`, or choose another place"
        }
        Hint::EndShare => "end that share first, with `cachefs daemon unshare`",
        Hint::UnmountAndRestore => "unmount the path with `cachefs umount`, and restore it again",
        Hint::ListShares => "`cachefs daemon shares` lists what is",
        Hint::UseOwnStore => "use a store directory of your own with --store",
        Hint::UnmountSome => "unmount some with `cachefs umount`",
        Hint::UseStoreInsteadOfShare => "leave --daemon out, and name the store with --store",
        Hint::ListRestores => {
            "`cachefs stats` shows what is restored; `cachefs save --dry-run` compares any directory with a key"
        }
        Hint::RefillOrForget => {
            "nothing was saved; remove the directory and fill it again, or forget the restore with `cachefs umount`"
        }
        Hint::UseStoreOfRestore => "name the --store that it was restored with",
        Hint::RestoreOrForget => "`cachefs restore` it again, or `cachefs umount` it to forget it",
        Hint::RestoreKeepingChanges => {
            "`cachefs restore --keep-changes` the path again: that repairs it and keeps its changes"
        }
        Hint::UnmountBeforeStop => {
            "unmount with `cachefs umount`; what containers and services have that were started meanwhile goes with them; --force breaks it"
        }
        Hint::GrantPermission { permission, object } => {
            return format!(
                "the credentials lack {permission} for {object}: grant it, or use a --scope that they may use"
            );
        }
        Hint::NameDirectoryInArchive { member } => {
            return format!(
                "it has `{member}`, for example; --path-in-archive says what the directory is called there"
            );
        }
        Hint::UnmountLazilyAndRestore { path } => {
            return format!(
                "end what uses it, or run `cachefs umount --lazy {path}`, and restore again"
            );
        }
        // A newer daemon may know more.
        _ => "see the documentation of this version",
    };
    text.to_owned()
}
