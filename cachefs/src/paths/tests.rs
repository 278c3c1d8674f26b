//! How we parse and match paths, patterns and exclusions.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_store::refs::CachePart;
use tempfile::TempDir;

use super::{OnDisk, PathSet, Places, Whole};

/// A workspace and a home directory beside it.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(directories: &[&str]) -> Self {
        let bench = Self {
            dir: TempDir::new().unwrap(),
        };
        for path in ["work", "home"].iter().chain(directories) {
            fs::create_dir_all(bench.dir.path().join(path)).unwrap();
        }
        bench
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn places(&self) -> Places {
        Places {
            workspace: self.path("work"),
            home: Some(self.path("home")),
        }
    }

    fn set(&self, written: &[&str]) -> PathSet {
        PathSet::new(written, self.places()).unwrap()
    }

    fn error(&self, written: &[&str]) -> String {
        PathSet::new(written, self.places())
            .unwrap_err()
            .to_string()
    }
}

fn parts(found: &OnDisk) -> Vec<&str> {
    found
        .directories
        .iter()
        .map(|directory| directory.part.as_ref().map_or("", CachePart::as_str))
        .collect()
}

#[test]
fn one_plain_path_has_no_part() {
    let bench = Bench::new(&[]);
    for (written, path) in [
        ("target", "work/target"),
        ("./target/", "work/target"),
        ("~/.m2", "home/.m2"),
    ] {
        let single = bench.set(&[written, "!*.log"]).single().unwrap();
        assert_eq!((single.path, single.part), (bench.path(path), None));
    }
    let outside = bench.set(&["../x"]).single().unwrap();
    assert_eq!(outside.path, bench.path("work/../x"));
    assert!(bench.set(&["a", "b"]).single().is_none());
    assert!(bench.set(&["a*"]).single().is_none());
}

#[test]
fn parts_are_named_by_where_they_are_on_any_machine() {
    let bench = Bench::new(&["work/target", "home/.m2", "other/cache"]);
    let other = bench.path("other/cache");
    let other = other.to_str().unwrap();
    let set = bench.set(&["target", "~/.m2", other, "gone", "none*"]);
    let found = set.on_disk().unwrap();
    let mut expected = vec!["target", "~/.m2", other];
    expected.sort_unstable();
    let mut seen = parts(&found);
    seen.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(found.absent, ["gone", "none*"]);
    for directory in &found.directories {
        let part = directory.part.as_ref().unwrap();
        assert!(set.accepts(part), "{part}");
        assert_eq!(set.places().path_of(part).unwrap(), directory.path);
    }
}

#[test]
fn a_workspace_in_the_home_directory_and_the_other_way_round() {
    let part = |workspace: &str, home: &str, path: &str| {
        let places = Places {
            workspace: workspace.into(),
            home: Some(home.into()),
        };
        let part = places.part_of(Path::new(path)).unwrap();
        assert_eq!(places.path_of(&part).unwrap(), Path::new(path));
        part.to_string()
    };
    assert_eq!(part("/home/u/w", "/home/u", "/home/u/w/target"), "target");
    assert_eq!(part("/home/u/w", "/home/u", "/home/u/.m2"), "~/.m2");
    assert_eq!(part("/", "/root", "/root/.m2"), "~/.m2");
    assert_eq!(part("/", "/root", "/srv/x"), "srv/x");
    assert_eq!(part("/w", "/root", "/w"), ".");
    assert_eq!(part("/w", "/root", "/rooted"), "/rooted");
}

#[test]
fn patterns_find_whole_directories() {
    let bench = Bench::new(&[
        "work/packages/a/node_modules/x/node_modules",
        "work/packages/b/node_modules",
        "work/packages/c/src",
        "work/deep/er/node_modules",
        "work/.git/node_modules",
        "home/packages/d/node_modules",
    ]);
    std::os::unix::fs::symlink(bench.path("home"), bench.path("work/linked")).unwrap();
    fs::write(bench.path("work/packages/node_modules"), "a file").unwrap();
    let found = |written: &[&str]| -> Vec<String> {
        let found = bench.set(written).on_disk().unwrap();
        parts(&found).into_iter().map(str::to_owned).collect()
    };
    let two = ["packages/a/node_modules", "packages/b/node_modules"];
    assert_eq!(found(&["packages/*/node_modules"]), two);
    assert_eq!(found(&["./packages/{a,b}/node_modules"]), two);
    assert_eq!(
        found(&["**/node_modules"]),
        ["deep/er/node_modules", two[0], two[1]]
    );
    assert_eq!(
        found(&["~/packages/*/node_modules"]),
        ["~/packages/d/node_modules"]
    );
    assert_eq!(found(&["packages/*/node_modules", "!packages/a"]), two[1..]);
    assert_eq!(
        found(&["**/node_modules", "!deep/**", "!b/"]),
        two[..1],
        "what a directory is in counts"
    );
    assert_eq!(
        found(&["packages", "packages/a/node_modules"]),
        ["packages"]
    );
}

#[test]
fn what_is_stored_decides_what_is_restored() {
    let bench = Bench::new(&[]);
    let set = bench.set(&["packages/*/node_modules", "~/.npm", "!packages/old"]);
    let part = |text: &str| CachePart::new(text).unwrap();
    assert!(set.accepts(&part("packages/new/node_modules")));
    assert!(set.accepts(&part("~/.npm")));
    for other in [
        "packages/old/node_modules",
        "packages/a/b/node_modules",
        "~/.ssh",
        "/etc",
        "~",
        "/",
        ".",
    ] {
        assert!(!set.accepts(&part(other)), "{other}");
    }
    let directories = set
        .directories(["packages/b", "packages/a", "packages/a/x"].map(|text| Some(part(text))))
        .unwrap();
    let paths: Vec<_> = directories.iter().map(|found| found.path.clone()).collect();
    assert_eq!(
        paths,
        [bench.path("work/packages/a"), bench.path("work/packages/b")]
    );
}

#[test]
fn exclusions_are_read_as_users_write_them() {
    let bench = Bench::new(&[]);
    let excluded = |written: &[&str], entry: &str| {
        let set = bench.set(written);
        let exclude = set.exclude(&set.single().unwrap());
        let (path, directory) = match entry.strip_suffix('/') {
            Some(path) => (path, true),
            None => (entry, false),
        };
        exclude.excludes(Path::new(path), directory)
    };
    let m2 = |exclusion: &str, entry: &str| excluded(&["~/.m2", exclusion], entry);
    assert!(m2("!~/.m2/repository/com/acme", "repository/com/acme/"));
    assert!(!m2("!~/.m2/repository/com/acme", "repository/com/acme2/"));
    assert!(m2("!**/*.log", "a/b/x.log"));
    assert!(m2("!*.log", "a/b/x.log"));
    assert!(m2("!*.log", "x.log"));
    assert!(m2("!settings.xml", "settings.xml"));
    assert!(m2("!repository/*/tmp", "repository/a/tmp/"));
    assert!(!m2("!repository/*/tmp", "x/repository/a/tmp/"));
    assert!(m2("!tmp/", "a/tmp/"));
    assert!(!m2("!tmp/", "a/tmp"));
    let target = |exclusion: &str, entry: &str| excluded(&["target", exclusion], entry);
    assert!(target("!target/debug/incremental", "debug/incremental/"));
    assert!(target("!./target/**/*.d", "debug/x.d"));
    assert!(target("!debug/incremental", "debug/incremental/"));
    assert!(!target("!~/debug", "debug/"));
    let set = bench.set(&["target"]);
    assert!(set.exclude(&set.single().unwrap()).is_empty());
}

#[test]
fn what_cannot_be_a_cache_is_refused() {
    let bench = Bench::new(&[]);
    let home = bench.path("home");
    let home = home.to_str().unwrap();
    for written in ["/", "~", "~/", home] {
        assert!(bench.error(&[written]).contains("itself"), "{written}");
        assert!(bench.error(&["a", written]).contains("itself"), "{written}");
    }
    let beside = format!("{}/*", bench.dir.path().display());
    assert!(bench.error(&[&beside]).contains("the home directory"));
    assert!(bench.error(&["/**"]).contains("itself"));
    for written in [
        "/proc",
        "/proc/self",
        "/sys/fs",
        "/dev",
        "/dev/",
        "/usr/../dev",
    ] {
        assert!(
            bench.error(&[written]).contains("a virtual filesystem"),
            "{written}"
        );
    }
    bench.set(&["/dev/shm/cache"]);
    assert_eq!(bench.error(&["!x", "!y"]), "no path given");
    assert_eq!(bench.error(&[""]), "a path is empty");
    assert!(bench.error(&["a/[b/*"]).starts_with("bad pattern"));
    assert!(bench.error(&["a/../*"]).contains("`..`"));
    assert!(bench.error(&["a", "../b"]).contains("`..`"));
    assert!(bench.error(&["a", "!../b"]).contains("`..`"));
}

#[test]
fn a_name_with_special_characters_is_that_directory() {
    let names = [
        "app/[slug]",
        "app/[[...all]]",
        "ws{1}",
        "job[3]/ws",
        "a*b",
        "q?x",
        "we,ird",
        "(group)",
        "br]ack",
    ];
    for name in names {
        let bench = Bench::new(&["work/s", "work/other"]);
        let expected = bench.path("work").join(name);
        fs::create_dir_all(&expected).unwrap();
        let absolute = expected.to_str().unwrap();
        for written in [name, absolute, &format!("./{name}/")] {
            let single = bench.set(&[written, "!*.tmp"]).single().unwrap();
            assert_eq!(single.path, expected, "{written}");
            let found = bench.set(&[written, "other"]).on_disk().unwrap();
            let mut expected = [name, "other"];
            expected.sort_unstable();
            assert_eq!(parts(&found), expected, "{written}");
        }
        // Directories below it match too, even before they exist.
        let below = bench.set(&[&format!("{name}/node_modules")]);
        assert_eq!(below.single().unwrap().path, expected.join("node_modules"));
    }
}

#[test]
fn a_pattern_below_a_name_with_brackets_is_a_pattern() {
    let bench = Bench::new(&["work/app/[slug]/a/gen", "work/app/s/b/gen", "work/x[1]/gen"]);
    let found = |written: &[&str]| -> Vec<String> {
        let found = bench.set(written).on_disk().unwrap();
        parts(&found).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(found(&["app/[slug]/*/gen"]), ["app/[slug]/a/gen"]);
    assert_eq!(found(&["app/[st]/*/gen"]), ["app/s/b/gen"]);
    let base = bench.path("work/x[1]/*");
    assert_eq!(found(&[base.to_str().unwrap()]), ["x[1]/gen"]);
    assert_eq!(
        found(&["app/*/*/gen", "!app/[slug]"]),
        Vec::<String>::new(),
        "an exclusion is both a pattern and a name"
    );
    let of_workspace = Places {
        workspace: bench.path("work/app/[slug]"),
        home: None,
    };
    let set = PathSet::new(&["*/gen"], of_workspace).unwrap();
    assert_eq!(parts(&set.on_disk().unwrap()), ["a/gen"]);
}

#[test]
fn a_name_that_does_not_exist_yet_is_found_by_what_was_stored() {
    let bench = Bench::new(&[]);
    let part = |text: &str| CachePart::new(text).unwrap();
    let set = bench.set(&["app/[slug]", "x"]);
    assert!(set.accepts(&part("app/[slug]")) && set.accepts(&part("app/s")));
    assert_eq!(set.whole(), Whole::No);
    assert_eq!(bench.set(&["app/[slug]"]).whole(), Whole::Any);
    for pattern in ["packages/*/x", "a?", "packages/{a,b}"] {
        let whole = Whole::SavedFrom(Some(part(pattern)));
        assert_eq!(bench.set(&[pattern]).whole(), whole);
    }
    for name in ["app/[slug]", "a?"] {
        let directories = bench.set(&[name]).directories([None]).unwrap();
        let paths: Vec<_> = directories.into_iter().map(|it| it.path).collect();
        assert_eq!(paths, [bench.path("work").join(name)]);
    }
    for name in ["[", "a/[b", "{a", "!x"] {
        let single = bench.set(&[name]).single().unwrap();
        assert_eq!(single.path, bench.path("work").join(name));
    }
}

#[test]
fn a_directory_called_like_an_exclusion_can_be_named_alone() {
    let bench = Bench::new(&["work/!bang", "work/bang"]);
    for written in ["!bang", "./!bang"] {
        let single = bench.set(&[written]).single().unwrap();
        assert!(single.path.ends_with("!bang"), "{written}");
    }
    assert!(
        bench
            .set(&["bang", "!bang"])
            .single()
            .unwrap()
            .path
            .ends_with("work/bang")
    );
}

#[test]
fn a_path_means_the_directory_however_it_is_spelled() {
    use std::os::unix::fs::symlink;
    let bench = Bench::new(&["work/web", "mnt/m2"]);
    symlink(bench.path("work"), bench.path("logical")).unwrap();
    symlink("web", bench.path("work/alias")).unwrap();
    symlink("web/nm", bench.path("work/link")).unwrap();
    symlink(bench.path("mnt/m2"), bench.path("home/.m2")).unwrap();
    let logical = bench.path("logical/web/nm");
    let spellings = [
        "web/nm",
        "./web//nm/.",
        "web/../web/nm",
        "alias/nm",
        "link",
        logical.to_str().unwrap(),
    ];
    let real = bench.path("work/web/nm").canonicalize();
    assert!(real.is_err(), "it does not exist before the restore");
    for exists in [false, true] {
        let real = bench.dir.path().canonicalize().unwrap().join("work/web/nm");
        for spelling in spellings {
            for set in [bench.set(&[spelling]), bench.set(&[spelling, "other"])] {
                assert!(set.holds(&real), "{spelling}");
            }
            let set = bench.set(&[spelling, "other"]);
            assert!(
                set.accepts(&CachePart::new("web/nm").unwrap()),
                "{spelling}"
            );
            let names = PathSet::of_names(&set.spellings(), bench.places()).unwrap();
            assert!(
                names.accepts(&CachePart::new("web/nm").unwrap()),
                "{spelling}"
            );
        }
        if !exists {
            fs::create_dir(bench.path("work/web/nm")).unwrap();
        }
    }
    let found = |written: &[&str]| -> Vec<String> {
        let found = bench.set(written).on_disk().unwrap();
        parts(&found).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(found(&["web/../web/nm", "alias/nm", "x"]), ["web/nm"]);
    assert_eq!(found(&[spellings[5], "x"]), ["web/nm"]);
    // We prefer the name relative to the home directory because machines share it.
    assert_eq!(found(&["~/.m2", "x"]), ["~/.m2"]);
    assert!(bench.error(&["a", "../mnt/m2"]).contains("`..`"));
    let exclude = bench.set(&[spellings[5], "!web/nm/.cache"]);
    let exclude = exclude.exclude(&exclude.single().unwrap());
    assert!(exclude.excludes(Path::new(".cache"), true));
}

#[test]
fn a_deleted_working_directory_matters_only_to_relative_paths() {
    let places = Places {
        workspace: PathBuf::new(),
        home: Some("/home/u".into()),
    };
    let set = PathSet::new(&["/var/cache/x", "~/.m2"], places.clone()).unwrap();
    assert!(set.accepts(&CachePart::new("/var/cache/x").unwrap()));
    let parts: Vec<_> = ["/var/cache/x", "/home/u/.m2"]
        .iter()
        .map(|path| places.part_of(Path::new(path)).unwrap().to_string())
        .collect();
    assert_eq!(parts, ["/var/cache/x", "~/.m2"]);
    for written in ["target", "*/target"] {
        let error = PathSet::new(&[written], places.clone()).unwrap_err();
        assert!(error.to_string().contains("deleted"), "{written}: {error}");
    }
}
