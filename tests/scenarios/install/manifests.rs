//! The manifests have the form that Kubernetes' schema asks for, and ask for no more than they need.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use harness::command;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, Namespace, Pod, PodSpec, SecurityContext, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Deserialize as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Dir, file, tracer};

pub(crate) const DEBUG: &str = "docs/kubernetes/debug-pod.yaml";
pub(crate) const DAEMONSET: &str = "docs/kubernetes/daemonset.yaml";
pub(crate) const PLUGIN: &str = "docs/kubernetes/kubectl-tracer";

/// The documents of a YAML file.
fn documents(text: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).map_err(Into::into))
        .collect()
}

/// Reads a document as its type. What the type does not know it would leave out.
fn typed<T: DeserializeOwned + Serialize>(document: &Value) -> Result<T> {
    let typed: T = serde_json::from_value(document.clone())?;
    let again = serde_json::to_value(&typed)?;
    ensure!(
        again == *document,
        "not in the schema: {document}\nof it is known: {again}"
    );
    Ok(typed)
}

/// Every document of a file, checked; the pods in it.
fn pods(text: &str) -> Result<Vec<PodSpec>> {
    let mut pods = Vec::new();
    for document in documents(text)? {
        match document["kind"].as_str() {
            Some("Pod") => pods.extend(typed::<Pod>(&document)?.spec),
            Some("DaemonSet") => {
                let spec = typed::<DaemonSet>(&document)?.spec;
                pods.extend(spec.and_then(|spec| spec.template.spec));
            }
            Some("Namespace") => drop(typed::<Namespace>(&document)?),
            Some("ConfigMap") => checks(&typed(&document)?)?,
            kind => bail!("{kind:?} is not looked at"),
        }
    }
    Ok(pods)
}

/// tracer takes the file of checks: it is read before anything else, so that what is missing are
/// privileges or a network at most.
fn checks(map: &ConfigMap) -> Result<()> {
    let dir = Dir::new("configmap")?;
    for (name, text) in map.data.iter().flatten() {
        let path = dir.path(name)?;
        fs::write(&path, text)?;
        tracer(&["check", "--for", "1ms", "-q", "-f", &path])
            .or_else(|error| {
                let usage = error.to_string().contains("exit status: 2");
                if usage { Err(error) } else { Ok(String::new()) }
            })
            .context(name.clone())?;
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(file(path)?).with_context(|| path.to_owned())
}

/// The one pod, and its one container.
fn only(text: &str) -> Result<(PodSpec, Container)> {
    let pods = pods(text)?;
    let [pod] = pods.as_slice() else {
        bail!("{} pods", pods.len())
    };
    let [container] = pod.containers.as_slice() else {
        bail!("{} containers", pod.containers.len())
    };
    Ok((pod.clone(), container.clone()))
}

fn security(text: &str) -> Result<SecurityContext> {
    let (_, container) = only(text)?;
    container.security_context.context("no securityContext")
}

/// The node's directories that a manifest mounts, with where they are in the container.
pub(crate) fn host_paths(path: &str) -> Result<Vec<(String, String)>> {
    let (pod, container) = only(&read(path)?)?;
    let mounts = container.volume_mounts.into_iter().flatten();
    let volumes = pod.volumes.context("no volumes")?;
    let mounted = mounts.filter_map(|mount| {
        let volume = volumes.iter().find(|v| v.name == mount.name)?;
        Some((volume.host_path.as_ref()?.path.clone(), mount.mount_path))
    });
    Ok(mounted.collect())
}

/// The capabilities that a manifest adds, without `CAP_`.
pub(crate) fn added(path: &str) -> Result<Vec<String>> {
    let security = security(&read(path)?)?;
    let capabilities = security.capabilities.context("no capabilities")?;
    ensure!(
        capabilities.drop == Some(vec!["ALL".to_owned()]),
        "{:?} are dropped",
        capabilities.drop
    );
    capabilities.add.context("none is added")
}

fn printed(args: &[&str]) -> Result<String> {
    let plugin = file(PLUGIN)?;
    command::run(&[&[plugin.as_str()], args].concat(), "")
}

#[test]
fn manifests_are_in_the_schema_and_unprivileged() -> Result<()> {
    let plugin = printed(&["n1", "--print", "check", "--for", "1s"])?;
    for text in [read(DEBUG)?, read(DAEMONSET)?, plugin] {
        let security = security(&text)?;
        ensure!(security.privileged == Some(false), "{security:?}");
        ensure!(
            security.read_only_root_filesystem == Some(true),
            "{security:?}"
        );
        ensure!(security.run_as_user == Some(0), "{security:?}");
        let pods = pods(&text)?;
        for pod in &pods {
            ensure!(
                pod.automount_service_account_token == Some(false),
                "{pod:?}"
            );
            let mounts = pod
                .containers
                .iter()
                .flat_map(|c| c.volume_mounts.iter().flatten());
            for mount in mounts {
                ensure!(mount.read_only == Some(true), "{mount:?}");
            }
        }
    }
    Ok(())
}

/// An account for `--kube` may read what names are made of, and nothing else.
#[test]
fn the_account_may_list_and_watch() -> Result<()> {
    let documents = documents(&read("docs/kubernetes/rbac.yaml")?)?;
    let [account, role, binding] = documents.as_slice() else {
        bail!("{} documents", documents.len())
    };
    let account = typed::<ServiceAccount>(account)?.metadata;
    let role = typed::<ClusterRole>(role)?;
    let binding = typed::<ClusterRoleBinding>(binding)?;
    let [rule] = role.rules.as_deref().unwrap_or_default() else {
        bail!("{:?}", role.rules)
    };
    ensure!(rule.verbs == ["list", "watch"], "{rule:?}");
    let resources = rule.resources.as_deref().unwrap_or_default();
    ensure!(resources == ["pods", "services", "nodes"], "{rule:?}");
    ensure!(Some(&binding.role_ref.name) == role.metadata.name.as_ref());
    let subjects = binding.subjects.unwrap_or_default();
    let [subject] = subjects.as_slice() else {
        bail!("{subjects:?}")
    };
    ensure!(Some(&subject.name) == account.name.as_ref(), "{subject:?}");
    ensure!(subject.namespace == account.namespace, "{subject:?}");
    Ok(())
}

#[test]
fn what_is_misspelt_is_noticed() -> Result<()> {
    let text = read(DEBUG)?;
    for (right, wrong) in [
        ("hostPID: true", "hostPid: true"),
        (
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: maybe",
        ),
        ("kind: Pod", "kind: Pot"),
    ] {
        ensure!(text.contains(right), "no {right}");
        ensure!(pods(&text.replace(right, wrong)).is_err(), "{wrong}");
    }
    Ok(())
}

/// The plugin holds the pod of the manifest, beside what it sets for each run.
#[test]
fn the_plugin_has_the_same_pod() -> Result<()> {
    let plugin = printed(&["NODE", "--print", "check", "--for", "30s"])?;
    let [mut ours, mut theirs] = [
        documents(&plugin)?.remove(0),
        documents(&read(DEBUG)?)?.remove(0),
    ];
    for pod in [&mut ours, &mut theirs] {
        pod["metadata"]["name"] = Value::Null;
        let container = pod["spec"]["containers"][0]
            .as_object_mut()
            .context("no container")?;
        for only in ["stdin", "stdinOnce", "tty", "env"] {
            container.remove(only);
        }
    }
    ensure!(ours == theirs, "{ours}\n{theirs}");
    Ok(())
}

#[test]
fn arguments_arrive_as_they_were_typed() -> Result<()> {
    let typed = "a \"b\" \\ 'c' $(NODE) : # - {x}";
    let text = printed(&["n1", "--print", "--", "check", typed])?;
    let pod = documents(&text)?.remove(0);
    let args = &pod["spec"]["containers"][0]["args"];
    // Kubernetes takes $$( for $(
    ensure!(args[1] == typed.replace("$(", "$$("), "{args}");
    Ok(())
}
