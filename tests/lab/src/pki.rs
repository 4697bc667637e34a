//! Certificates and kubeconfigs, by the openssl program. ECDSA everywhere: all of it takes half a second.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::{Host, Lan};
use crate::place::Place;
use crate::run::{command, run};

const API_SERVER_NAMES: &str = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:m-k8s,DNS:localhost,IP:10.96.0.1,IP:fd00:10:96::1,IP:192.168.56.10,IP:fd56::10,IP:127.0.0.1,IP:::1";

/// Instead of the machine's openssl.cnf, whose extensions would be added to ours.
const CONFIG: &str = "openssl.cnf";

fn text(path: &Path) -> &str {
    // Places are made of an ASCII prefix and names of this crate; openssl takes the rest as it is.
    path.to_str().unwrap_or_default()
}

/// Makes `path` by `make(temporary path)` unless it exists; a run that dies in between leaves no half file.
fn once(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let partial = path.with_extension("new");
    make(&partial)?;
    fs::rename(&partial, path).map_err(Error::io("renaming", &partial))
}

struct Authority {
    dir: PathBuf,
}

impl Authority {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn key(&self, name: &str) -> Result<PathBuf> {
        let path = self.file(&format!("{name}.key"));
        once(&path, |new| {
            run(&mut command("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", text(new)]))
                .map(drop)
        })?;
        Ok(path)
    }

    /// Certificate `name` for `subject`, with the authority's signature.
    fn certificate(&self, name: &str, subject: &str, alternative_names: &str) -> Result<()> {
        let key = self.key(name)?;
        let (ca_key, ca) = (self.file("ca.key"), self.file("ca.crt"));
        once(&self.file(&format!("{name}.crt")), |new| {
            let mut openssl = command(
                "openssl",
                ["req", "-x509", "-new", "-key", text(&key), "-subj", subject, "-days", "3650", "-out", text(new)],
            );
            openssl.args(["-config", text(&self.file(CONFIG))]);
            openssl.args(["-CA", text(&ca), "-CAkey", text(&ca_key)]);
            for extension in [
                "basicConstraints=critical,CA:FALSE",
                "keyUsage=digitalSignature",
                "extendedKeyUsage=serverAuth,clientAuth",
            ] {
                openssl.args(["-addext", extension]);
            }
            if !alternative_names.is_empty() {
                openssl.args(["-addext", &format!("subjectAltName={alternative_names}")]);
            }
            run(&mut openssl).map(drop)
        })
    }

    fn kubeconfig(&self, path: &Path, name: &str) -> Result<()> {
        let server = format!("https://{}:6443", Host::ControlPlane.ipv4(Lan::First));
        // Paths instead of embedded data: every reader is on this machine.
        let config = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: lab, cluster: {{server: \"{server}\", certificate-authority: {ca}}}}}]\n\
             users: [{{name: {name}, user: {{client-certificate: {crt}, client-key: {key}}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: {name}}}}}]\ncurrent-context: lab\n",
            ca = self.file("ca.crt").display(),
            crt = self.file(&format!("{name}.crt")).display(),
            key = self.file(&format!("{name}.key")).display(),
        );
        once(path, |new| {
            fs::write(new, config).map_err(Error::io("writing", new))?;
            // helm warns about a kubeconfig that others may read.
            fs::set_permissions(new, fs::Permissions::from_mode(0o600)).map_err(Error::io("protecting", new))
        })
    }

    fn client(&self, name: &str, subject: &str) -> Result<()> {
        self.certificate(name, subject, "")?;
        self.kubeconfig(&self.file(&format!("{name}.kubeconfig")), name)
    }
}

/// Makes whatever is missing for these hosts.
pub(crate) fn ensure(place: &Place, hosts: &[Host]) -> Result<()> {
    let authority = Authority { dir: place.pki() };
    fs::create_dir_all(&authority.dir).map_err(Error::io("creating", &authority.dir))?;
    fs::set_permissions(&authority.dir, fs::Permissions::from_mode(0o700))
        .map_err(Error::io("protecting", &authority.dir))?;
    once(&authority.file(CONFIG), |new| {
        fs::write(new, "[req]\ndistinguished_name = name\n[name]\n").map_err(Error::io("writing", new))
    })?;
    let ca_key = authority.key("ca")?;
    once(&authority.file("ca.crt"), |new| {
        let mut openssl = command("openssl", ["req", "-x509", "-new", "-key", text(&ca_key), "-subj", "/CN=lab-ca"]);
        openssl.args(["-config", text(&authority.file(CONFIG)), "-days", "3650", "-out", text(new)]);
        openssl.args(["-addext", "basicConstraints=critical,CA:TRUE"]);
        openssl.args(["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]);
        run(&mut openssl).map(drop)
    })?;
    let service_accounts = authority.key("sa")?;
    once(&authority.file("sa.pub"), |new| {
        run(&mut command("openssl", ["ec", "-in", text(&service_accounts), "-pubout", "-out", text(new)])).map(drop)
    })?;
    authority.certificate("apiserver", "/CN=kube-apiserver", API_SERVER_NAMES)?;
    authority.certificate("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", "")?;
    authority.certificate("front-proxy", "/CN=front-proxy-client", "")?;
    authority.certificate("admin", "/O=system:masters/CN=admin", "")?;
    authority.kubeconfig(&place.kubeconfig(), "admin")?;
    for name in ["controller-manager", "scheduler", "proxy"] {
        authority.client(&format!("kube-{name}"), &format!("/CN=system:kube-{name}"))?;
    }
    for host in hosts.iter().filter(|host| host.is_node()) {
        authority.client(&format!("kubelet-{host}"), &format!("/O=system:nodes/CN=system:node:{host}"))?;
    }
    Ok(())
}
