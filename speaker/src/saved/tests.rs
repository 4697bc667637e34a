use super::*;
use herald_runtime::readiness::{Readiness, Weight};
use herald_wire::hello::{ClusterId, Key, Stamp};
use std::os::unix::fs::PermissionsExt as _;

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("herald-saved-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn store(&self) -> Store {
        Store::new(self.0.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn saved() -> Saved {
    Saved {
        node: "a".into(),
        cluster: CLUSTER,
        at: now(),
        resource_version: 3,
        keys: vec![Key::new(&[1; 32]).unwrap()],
        excluded: vec![],
        snapshot: Arc::default(),
    }
}

#[test]
fn files_are_whole_private_and_replaced() {
    let folder = Folder::new("files");
    let store = folder.store();
    assert_eq!(store.load(&"a".into()), Ok(None));
    let first = saved();
    store.save(&first).unwrap();
    assert_eq!(store.load(&"a".into()), Ok(Some(first)));
    let second = Saved { resource_version: 4, ..saved() };
    store.save(&second).unwrap();
    assert_eq!(store.load(&"a".into()), Ok(Some(second)));
    let names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["state"], "nothing else stays behind");
    assert_eq!(fs::metadata(store.file()).unwrap().permissions().mode() & 0o777, 0o600);
    store.remove().unwrap();
    store.remove().unwrap();
    assert_eq!(store.load(&"a".into()), Ok(None));
}

#[test]
fn what_cannot_be_used_is_said_where_the_operator_looks() {
    let folder = Folder::new("refused");
    let store = folder.store();
    let readiness = Readiness::new();
    let condition = readiness.condition("saved state", Weight::Informative);
    store.save(&saved()).unwrap();
    assert!(load(Some(&store), &"a".into(), &condition).is_some());
    assert!(load(Some(&store), &"b".into(), &condition).is_none());
    assert!(readiness.report().text.contains("[!] saved state: the saved state is of node a: give every node"));
    fs::write(store.file(), "garbage").unwrap();
    assert!(load(Some(&store), &"a".into(), &condition).is_none());
    assert!(readiness.report().text.contains("another version"));
    assert!(of_cluster(Some(saved()), CLUSTER, &condition).is_some());
    assert!(of_cluster(Some(saved()), ClusterId([8; 16]), &condition).is_none());
    assert!(readiness.report().text.contains("of another cluster"));
}

/// A saver with everything that it listens to.
struct Rig {
    observed: watch::Sender<Option<Arc<Snapshot>>>,
    keys: watch::Sender<Arc<Keys>>,
    _excluded: watch::Sender<Arc<Exclude>>,
    standby: watch::Sender<Option<bool>>,
    saved_at: Gauge,
    readiness: Readiness,
}

fn rig(store: Store) -> Rig {
    let (observed, observed_now) = watch::channel(None);
    let (keys, keys_now) = watch::channel(Arc::new(Keys { cluster: CLUSTER, accepted: vec![] }));
    let (excluded, excluded_now) = watch::channel(Arc::new(Exclude::new(["^wg"]).unwrap()));
    let (standby, standby_now) = watch::channel(None);
    let (saved_at, readiness) = (Gauge::default(), Readiness::new());
    let saver = Saver {
        store,
        node: "a".into(),
        observed: observed_now,
        keys: keys_now,
        excluded: excluded_now,
        standby: standby_now,
        condition: readiness.condition("saved state", Weight::Informative),
        saved_at: saved_at.clone(),
    };
    tokio::spawn(saver.run());
    Rig { observed, keys, _excluded: excluded, standby, saved_at, readiness }
}

fn connected(resource_version: u64) -> Snapshot {
    Snapshot { stamp: Stamp { connected: true, resource_version }, ..Snapshot::default() }
}

async fn some_pauses() {
    for _ in 0..4 {
        sleep(PAUSE).await;
        // The write itself is on a thread, which a paused clock does not wait for.
        spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_from_the_api_server_is_saved_and_what_was_loaded_is_not() {
    let folder = Folder::new("saver");
    let store = folder.store();
    let rig = rig(store.clone());
    rig.observed.send_replace(Some(Arc::new(connected(5))));
    some_pauses().await;
    assert_eq!(store.load(&"a".into()), Ok(None), "neither key nor standby are known");
    rig.keys.send_replace(Arc::new(Keys { cluster: CLUSTER, accepted: vec![Key::new(&[1; 32]).unwrap()] }));
    rig.standby.send_replace(Some(false));
    some_pauses().await;
    let first = store.load(&"a".into()).unwrap().unwrap();
    assert_eq!((first.resource_version, first.excluded.as_slice()), (5, &["^wg".to_owned()][..]));
    assert_eq!(rig.saved_at.get(), first.at);
    assert!(rig.readiness.report().text.contains("[+] saved state: ok"));

    let loaded = Saved { resource_version: 9, ..saved() }.into_snapshot();
    rig.observed.send_replace(Some(Arc::new(loaded)));
    some_pauses().await;
    assert_eq!(
        store.load(&"a".into()).unwrap().unwrap().resource_version,
        5,
        "a copy of a copy would never be too old"
    );

    let away = Snapshot { stamp: Stamp { connected: false, resource_version: 6 }, ..Snapshot::default() };
    rig.observed.send_replace(Some(Arc::new(away)));
    some_pauses().await;
    let last = store.load(&"a".into()).unwrap().unwrap();
    assert_eq!((last.resource_version, last.at), (6, first.at), "its age counts from when it was known to be true");

    rig.standby.send_replace(Some(true));
    some_pauses().await;
    assert_eq!(store.load(&"a".into()), Ok(None), "MetalLB has to find its addresses free after a restart, too");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_is_said() {
    let rig = rig(Store::new("/proc/none".into()));
    rig.observed.send_replace(Some(Arc::new(connected(5))));
    rig.keys.send_replace(Arc::new(Keys { cluster: CLUSTER, accepted: vec![Key::new(&[1; 32]).unwrap()] }));
    rig.standby.send_replace(Some(false));
    some_pauses().await;
    assert!(rig.readiness.report().text.contains("[!] saved state: /proc/none cannot be written"));
    assert_eq!(rig.saved_at.get(), 0);
}

#[tokio::test]
async fn what_was_offered_is_let_go_once_it_was_taken() {
    let (offer, offered_now) = watch::channel(None);
    let (mut first, mut second) = (Some(offered_now.clone()), Some(offered_now));
    let all = Arc::new(saved());
    let left = Arc::downgrade(&all);
    offer.send_replace(Some(all));
    drop(offer);
    assert_eq!(offered(&mut first).await.cluster, CLUSTER);
    assert!(left.upgrade().is_some(), "another one waits for it");
    assert_eq!(offered(&mut second).await.cluster, CLUSTER);
    assert!(left.upgrade().is_none(), "nobody else keeps it in memory");
    let again = timeout(Duration::from_millis(50), offered(&mut first)).await;
    assert!(again.is_err(), "it is offered once");
}
