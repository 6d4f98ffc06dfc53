//! Plans of whole Dockerfiles, as `--dryrun` prints them.
//!
//! One directory of `golden/` for each: the Dockerfile, and its plan with the config of an image
//! whose layers hold nothing. A change here is a change of what is built, so read the difference
//! before accepting it.

mod support;

use plan::{PlanOptions, Unimplemented};
use support::{images, options};

fn check(name: &str, text: &str, change: fn(&mut PlanOptions)) {
    let mut known = images(include_str!("data/golden_base_images.json"));
    known.extend(images(include_str!("data/base_images.json")));
    let mut options = PlanOptions { unimplemented: Unimplemented::Plan, ..options() };
    change(&mut options);
    let planned = match support::plan(text, &options, &known) {
        Ok(planned) => planned,
        Err(refused) => panic!("{name} is refused at {:?}: {}", refused.lines, refused.message),
    };
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("golden/{name}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let image = planned.image();
    let config = String::from_utf8_lossy(image.config().bytes()).into_owned();
    settings.bind(|| insta::assert_snapshot!("plan", format!("{}\n{config}", planned.plan)));
}

macro_rules! golden {
    ($($name:ident $(, $change:expr)?;)*) => {
        $(#[test]
        fn $name() {
            #[allow(unused_mut, unused_assignments)]
            let mut change: fn(&mut PlanOptions) = |_| {};
            $(change = $change;)?
            let text = include_str!(concat!("golden/", stringify!($name), "/Dockerfile"));
            check(stringify!($name), text, change);
        })*
    };
}

fn given(options: &mut PlanOptions, args: &[(&str, &str)]) {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    options.build_args = args.collect();
}

fn targets(options: &mut PlanOptions, names: &[&str]) {
    options.targets = names.iter().map(|name| (*name).to_owned()).collect();
}

golden! {
    add_kinds;
    args_everywhere;
    args_given, |o| given(o, &[("BASE", "debian:12-slim"), ("USERNAME", "app"), ("UNKNOWN", "x")]);
    base_relative_workdir;
    base_without_path;
    caller_labels, |o| o.labels = vec![("l2".into(), "theirs".into()), ("new".into(), "1".into())];
    check_directive;
    cmd_and_entrypoint;
    continuations;
    control_characters;
    copy_flags;
    copy_from_kinds;
    diamond;
    dotnet;
    env_and_arg_order;
    escape_directive;
    from_only;
    go_service;
    healthchecks;
    heredocs;
    java_maven;
    labels;
    lower_case;
    mounts, |o| given(o, &[("BUILDKIT_CACHE_MOUNT_NS", "ns"), ("BUILDKIT_SANDBOX_HOSTNAME", "h")]);
    multi_platform, |o| o.platform = "linux/arm64".parse().ok();
    nginx_static;
    node_app;
    onbuild_copy_from;
    onbuild_image;
    onbuild_stage;
    php_apache;
    platform_default, |o| o.platform = "linux/arm/v7".parse().ok();
    ports_and_volumes;
    private_registry;
    proxy, |o| given(o, &[("http_proxy", "http://p:1"), ("HTTPS_PROXY", "http://p:2")]);
    python_venv;
    quoting;
    ruby_rails;
    rust_cli;
    same_name_twice;
    scratch_only;
    shadowed_names;
    shell_forms;
    source_date_epoch, |o| given(o, &[("SOURCE_DATE_EPOCH", "0042")]);
    stage_chain;
    static_site_hugo;
    substitutions;
    target_index, |o| targets(o, &["1"]);
    target_middle, |o| targets(o, &["TEST"]);
    targets_several, |o| targets(o, &["release", "test"]);
    users;
    workdirs;
}
