//! A whole run without root, KVM, /dev/net/tun, a home, or user namespaces.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::home::{HELLO, Home, is_root, missing, program, said};

/// For [`Home::elsewhere`]: becomes nobody, who can make no user namespace, in a place without KVM and tun.
const AS_NOBODY: &str = r#"
mkdir empty
chown nobody cache
for folder in /dev/net /dev/kvm; do
    if [ -d $folder ]; then mount --bind $PWD/empty $folder; fi
    if [ -c $folder ]; then mount --bind -o ro $PWD/scenario.toml $folder; fi
done
exec env -i PATH=/usr/local/bin:/usr/bin:/bin LASTWORDS_CACHE=$PWD/cache LASTWORDS_TEST_HOME="$LASTWORDS_TEST_HOME" \
    setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs --bounding-set=-all sh -ec '
        [ $(id -u) = 65534 ]
        if (: <> /dev/kvm) 2>/dev/null || (: <> /dev/net/tun) 2>/dev/null; then echo open; exit 99; fi
        exec unshare --user --map-root-user sh -ec "
            echo 0 > /proc/sys/user/max_user_namespaces
            if unshare --user true 2>/dev/null; then echo namespaces; exit 98; fi
            exec ./lastwords run scenario.toml --show-lines" || exec ./lastwords run scenario.toml --show-lines'
"#;

#[test]
fn nobody_runs_a_scenario() {
    let home = Home::without_kernels();
    if !is_root() {
        // Whoever is not root is unprivileged enough.
        let home = Home::new();
        let (output, _) = said(&home.play(HELLO, &["--show-lines"]).code(0));
        assert!(output.contains("| hello"), "{output}");
        return;
    }
    let output = home.elsewhere(HELLO, AS_NOBODY, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    assert!(
        text.contains("passed  scenario  debian:6.1"),
        "{text}{errors}"
    );
    assert!(text.contains("| hello"), "{text}");
    home.nothing_is_left();
}

/// A cache that is another user's is of no use, and says so; nothing of it is changed.
#[test]
fn two_users_do_not_share_a_cache() {
    if !is_root() {
        missing("root, to become another user");
        return;
    }
    let home = Home::new();
    home.play(HELLO, &[]).code(0);
    fs::set_permissions(home.cache(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut folder = Some(home.path());
    while let Some(parent) = folder {
        let readable = fs::metadata(parent).unwrap().permissions().mode() & 0o005 == 0o005;
        if !readable && parent.starts_with(home.path()) {
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder = parent.parent();
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(program())
        .args(["run", "scenario.toml"]);
    home.settle(&mut command);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("(let LASTWORDS_CACHE name a folder that you may write to)"),
        "{errors}"
    );
    home.nothing_is_left();
    home.play(HELLO, &[]).code(0);
}
