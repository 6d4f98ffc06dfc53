//! The environment block of a program that drops it, as another process of root sees it.
//!
//! The test is a program of its own, without a harness: it must have one thread.
#![allow(clippy::disallowed_methods, reason = "the test starts itself")]
#![allow(clippy::print_stdout, reason = "the two processes talk through it")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const PLANTED: &str = "planted-in-the-environment";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--forget") {
        return forget();
    }
    let this = std::env::current_exe().expect("because /proc is mounted");
    let mut child = Command::new(this)
        .arg("--forget")
        .env_clear()
        .envs([("A_TOKEN", PLANTED), ("KEPT", "kept"), ("Z_KEY", PLANTED), ("KEPT_NOT", PLANTED)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("because it is there");
    let mut said = BufReader::new(child.stdout.take().expect("because it is piped")).lines();
    let mut line = || said.next().expect("because it goes on").expect("because it is text");
    let path = format!("/proc/{}/environ", child.id());
    let block = || {
        let bytes = std::fs::read(&path).expect("because its memory is not hidden");
        String::from_utf8(bytes).expect("because it was text")
    };
    assert_eq!(line(), "ready");
    assert_eq!(block().matches(PLANTED).count(), 3, "it is there to be dropped");
    let mut stdin = child.stdin.take().expect("because it is piped");
    stdin.write_all(b"\n").expect("because it reads");
    assert_eq!(line(), "KEPT=kept");
    assert_eq!(line(), "end");
    assert_eq!(block().replace('\0', ""), "KEPT=kept");
    drop(stdin);
    assert!(child.wait().expect("because it is a child").success());
    refused_with_threads();
    println!("environment: ok");
}

fn wait() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("because it is a pipe");
}

fn forget() {
    println!("ready");
    wait();
    sys::forget_environment(&["KEPT", "MISSING"]).expect("because there is one thread");
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    println!("end");
    wait();
}

fn refused_with_threads() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv().is_err());
    assert_eq!(sys::forget_environment(&[]), Err(rustix::io::Errno::BUSY));
    assert!(std::env::vars_os().next().is_some(), "nothing was taken");
    drop(go);
    assert!(other.join().expect("because it does not panic"));
}
