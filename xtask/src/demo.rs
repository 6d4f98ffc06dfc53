//! The main job once, before a person's eyes: build a real multi-stage image, push it, pull it
//! back with another tool, and run it.
//!
//! Without root or apt-get the part that needs neither: an image from scratch, into a layout.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testkit::base_image;
use testkit::registry::Registry;

use crate::shell::{self, tool};
use crate::{dist, setup, transcript};

/// Runs the demo that this machine allows.
pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    if setup::can_install() {
        setup::run()?;
        let dist = step("the static programs", || dist::run(root))?;
        full(root, &dist)?;
    } else {
        println!("This is not root with apt-get, so the demo builds what needs neither.");
        let dist = step("the static programs", || dist::run(root))?;
        small(root, &dist)?;
        match setup::missing().as_slice() {
            [] => println!("\nThe full demo needs root and apt-get; what that installs is here."),
            missing => {
                println!("\nThe full demo needs root and apt-get, which installs:");
                for one in missing {
                    println!("  {} ({})", one.package, one.purpose);
                }
            }
        }
        println!("It then builds examples/app from a Debian image, pushes it to a registry on");
        println!("loopback, pulls it back with skopeo and umoci, and runs it.");
    }
    println!("\ndemo: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n== {name}");
    let start = Instant::now();
    let result = work()?;
    println!("   {:.1} s", start.elapsed().as_secs_f64());
    Ok(result)
}

fn full(root: &Path, dist: &Path) -> Result<()> {
    let place = shell::target(root).join("demo");
    shell::fresh_directory(&place)?;
    let bases = place.join("bases");
    step("base images: Debian by mmdebstrap, busybox", || {
        base_image::busybox(&bases, "busybox").map_err(anyhow::Error::msg)?;
        base_image::debian(&bases, "debian", &shell::target(root).join("bases"))
            .map_err(anyhow::Error::msg)
    })?;
    let registry = step("a registry on loopback", || {
        let registry = Registry::start().map_err(anyhow::Error::msg)?;
        println!("   {}", registry.host());
        for (name, tag) in [("busybox", "latest"), ("debian", "12")] {
            let to = format!("docker://{}/{name}:{tag}", registry.host());
            skopeo(root, &["copy", "--quiet", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:{name}", bases.display()))
                .arg(to)
                .run()?;
        }
        Ok(registry)
    })?;
    let image = format!("{}/demo/app:latest", registry.host());
    step("the build: examples/app", || {
        let child = tool(root, dist.join("executor"))
            .arg(format!("--context={}", root.join("examples/app").display()))
            .arg(format!("--build-arg=REGISTRY={}", registry.host()))
            .arg(format!("--destination={image}"))
            .arg(format!("--digest-file={}", place.join("digest").display()))
            .arg(format!("--kaniko-dir={}", place.join("state").display()))
            .args(["--insecure", "--insecure-pull", "--isolation=namespaces", "--log-format=json"])
            .spawn_with_errors()?;
        transcript::watch(child)
    })?;
    let layout = place.join("pulled");
    step("pulled back by skopeo", || {
        let from = format!("docker://{image}");
        let to = format!("oci:{}:app", layout.display());
        skopeo(root, &["copy", "--quiet", "--src-tls-verify=false"]).args([from, to]).run()?;
        println!("   digest {}", shell::read(&place.join("digest"))?);
        print_layers(&layout)
    })?;
    step("unpacked by umoci, and its entrypoint run", || run_unpacked(root, &layout, &place))
}

fn skopeo(root: &Path, arguments: &[&str]) -> shell::Tool {
    tool(root, "skopeo").args(arguments)
}

/// Runs the entrypoint as the image's user, in the image's root.
fn run_unpacked(root: &Path, layout: &Path, place: &Path) -> Result<()> {
    let bundle = place.join("bundle");
    tool(root, "umoci")
        .arg("unpack")
        .arg("--image")
        .arg(format!("{}:app", layout.display()))
        .arg(&bundle)
        .read()?;
    let config = config_of(layout)?;
    let config = &config["config"];
    let words: Vec<String> = texts(&config["Entrypoint"]).chain(texts(&config["Cmd"])).collect();
    let mut run = tool(root, "chroot");
    if let Some(user) = config["User"].as_str().filter(|user| !user.is_empty()) {
        let passwd = shell::read(&bundle.join("rootfs/etc/passwd"))?;
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user));
        let fields: Vec<&str> = line.context("the user is not in passwd")?.split(':').collect();
        let (Some(uid), Some(gid)) = (fields.get(2), fields.get(3)) else {
            bail!("the line of user `{user}` in passwd is not complete");
        };
        run = run.arg(format!("--userspec={uid}:{gid}"));
    }
    run = run.arg(bundle.join("rootfs")).args(["/bin/env", "-i"]).args(texts(&config["Env"]));
    let output = run.args(&words).read()?;
    println!("   $ {}\n   {}", words.join(" "), output.trim_end().replace('\n', "\n   "));
    Ok(())
}

fn texts(list: &Value) -> impl Iterator<Item = String> {
    let words = list.as_array().cloned().unwrap_or_default();
    words.into_iter().filter_map(|word| word.as_str().map(str::to_owned))
}

fn small(root: &Path, dist: &Path) -> Result<()> {
    let place = shell::target(root).join("demo");
    shell::fresh_directory(&place)?;
    let context = place.join("hello");
    let layout = place.join("image");
    step("a static program", || {
        let source = root.join("examples/hello");
        for file in ["Dockerfile", "hello.rs"] {
            shell::write(&context.join(file), shell::read(&source.join(file))?)?;
        }
        tool(&context, "rustc")
            .args(["-O", "-C", "target-feature=+crt-static", "hello.rs", "-o", "hello"])
            .run()
    })?;
    step("the build: examples/hello, into an OCI layout", || {
        let child = tool(root, dist.join("executor"))
            .arg(format!("--context={}", context.display()))
            .arg(format!("--oci-layout-path={}", layout.display()))
            .arg(format!("--kaniko-dir={}", place.join("state").display()))
            .args(["--no-push", "--log-format=json"])
            .spawn_with_errors()?;
        transcript::watch(child)
    })?;
    print_layers(&layout)?;
    let config = config_of(&layout)?;
    println!("   entrypoint {}", config["config"]["Entrypoint"]);
    let output = tool(&context, context.join("hello")).read()?;
    println!("   the program in it says: {}", output.trim_end());
    Ok(())
}

fn blob(layout: &Path, descriptor: &Value) -> Result<Value> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    let path: PathBuf = layout.join("blobs").join(digest.replace(':', "/"));
    Ok(serde_json::from_str(&shell::read(&path)?)?)
}

fn manifest_of(layout: &Path) -> Result<Value> {
    let index: Value = serde_json::from_str(&shell::read(&layout.join("index.json"))?)?;
    blob(layout, &index["manifests"][0])
}

fn config_of(layout: &Path) -> Result<Value> {
    blob(layout, &manifest_of(layout)?["config"])
}

fn print_layers(layout: &Path) -> Result<()> {
    let index: Value = serde_json::from_str(&shell::read(&layout.join("index.json"))?)?;
    println!("   image {}", index["manifests"][0]["digest"].as_str().unwrap_or("?"));
    for layer in manifest_of(layout)?["layers"].as_array().context("no layers")? {
        let size = layer["size"].as_u64().unwrap_or_default();
        println!("   layer {} {size:>10} bytes", layer["digest"].as_str().unwrap_or("?"));
    }
    Ok(())
}
