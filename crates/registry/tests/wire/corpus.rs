//! Documents as a hostile publisher or a broken tool writes them, served by a registry that is good
//! in every other way: each is a good one with one thing changed. What is refused is refused with
//! the reason; what is accepted is one image, read in one way.

use oci::{Digest, Platform};
use testkit::fault::FaultRegistry;

use crate::support::{chain, client_with, reference};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &[u8] = b"a layer: no registry and no resolver looks inside";
/// How an image becomes a base: which document is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest,
    Config,
    Index,
}

/// What is changed in the document: texts and what takes their place. An empty one is the whole.
type Edits = &'static [(&'static str, &'static str)];
/// A name, the changes, and what the refusal says; nothing where it is accepted.
type Case = (&'static str, Edits, &'static str);

const MANIFESTS: &[Case] = &[
    ("good", &[], ""),
    ("unknown keys", &[("\"layers\":", "\"x-vendor\":{\"a\":[1,2.5e3]},\"layers\":")], ""),
    ("no media type", &[("\"mediaType\":\"{MANIFEST}\",", "")], ""),
    ("annotations null", &[("\"layers\":", "\"annotations\":null,\"layers\":")], ""),
    ("spaces around", &[("{\"schema", " \n\t{\"schema")], ""),
    ("a subject", &[("\"layers\":", "\"subject\":{CONFIG},\"layers\":")], ""),
    (
        "two configs",
        &[("\"config\":", "\"config\":{CONFIG},\"config\":")],
        "duplicate key `config`",
    ),
    ("two layer lists", &[("\"layers\":", "\"layers\":[],\"layers\":")], "duplicate key `layers`"),
    (
        "an escaped second key",
        &[("\"layers\":", "\"l\\u0061yers\":[],\"layers\":")],
        "duplicate key `layers`",
    ),
    (
        "two digests",
        &[("\"digest\":\"{L}\"", "\"digest\":\"{L}\",\"digest\":\"{D}\"")],
        "duplicate key `digest`",
    ),
    (
        "layers in other case",
        &[("\"layers\":", "\"Layers\":[],\"layers\":")],
        "differs from a known one only by case",
    ),
    (
        "config in other case",
        &[("\"layers\":", "\"CONFIG\":{CONFIG},\"layers\":")],
        "differs from a known one only by case",
    ),
    (
        "media type in other case",
        &[("\"layers\":", "\"mediatype\":\"x\",\"layers\":")],
        "differs from a known one only by case",
    ),
    (
        "an index as well",
        &[("\"layers\":", "\"manifests\":[],\"layers\":")],
        "fields are of another kind",
    ),
    (
        "an old one as well",
        &[("\"layers\":", "\"fsLayers\":[],\"layers\":")],
        "belongs to another kind of document",
    ),
    (
        "an artifact as well",
        &[("\"layers\":", "\"blobs\":[],\"layers\":")],
        "belongs to another kind of document",
    ),
    ("it calls itself an index", &[("{MANIFEST}", "{INDEX}")], "and calls itself"),
    ("it calls itself nothing known", &[("{MANIFEST}", "text/plain")], "and calls itself"),
    ("version 1", &[("\"schemaVersion\":2", "\"schemaVersion\":1")], "`schemaVersion` is 1"),
    ("version 3", &[("\"schemaVersion\":2", "\"schemaVersion\":3")], "`schemaVersion` is 3"),
    ("version two", &[("\"schemaVersion\":2", "\"schemaVersion\":\"2\"")], "invalid type"),
    ("no version", &[("\"schemaVersion\":2,", "")], "missing field `schemaVersion`"),
    ("layers null", &[("[{LAYER}]", "null")], "invalid type: null"),
    ("layers an object", &[("[{LAYER}]", "{LAYER}")], "invalid type: map"),
    ("no layers at all", &[(",\"layers\":[{LAYER}]", "")], "fields are of another kind"),
    ("config null", &[("{CONFIG}", "null")], "invalid type: null"),
    ("config without a digest", &[("\"digest\":\"{D}\",", "")], "missing field `digest`"),
    ("a digest that climbs", &[("{L}", "sha256:{A60}/../")], "invalid checksum digest format"),
    ("a short digest", &[("{L}", "sha256:0123456789")], "invalid checksum digest length"),
    ("an upper-case digest", &[("{L}", "sha256:{UPPER}")], "invalid checksum digest format"),
    ("an unknown algorithm", &[("{L}", "md5:0123456789")], "unsupported digest algorithm"),
    ("an empty digest", &[("{L}", "")], "invalid checksum digest format"),
    ("a digest with a newline", &[("{L}", "{L}\\n")], "invalid digest"),
    ("size as 1e3", &[("\"size\":{M}", "\"size\":1e3")], "invalid type: floating point"),
    ("size as a text", &[("\"size\":{M}", "\"size\":\"{M}\"")], "invalid type: string"),
    ("size below zero", &[("\"size\":{M}", "\"size\":-1")], "invalid value: integer `-1`"),
    (
        "size beyond 64 bits",
        &[("\"size\":{M}", "\"size\":18446744073709551616")],
        "invalid type: floating point",
    ),
    ("a layer larger than said", &[("\"size\":{M}", "\"size\":{M-1}")], "bytes, not"),
    ("a layer smaller than said", &[("\"size\":{M}", "\"size\":{M+1}")], "ended after"),
    (
        "a config of 1 TiB",
        &[("\"size\":{N}", "\"size\":1099511627776")],
        "the content has 1099511627776 bytes, not 8388608",
    ),
    ("a config larger than said", &[("\"size\":{N}", "\"size\":{N-1}")], "bytes, not"),
    (
        "two layers, one diff id",
        &[("[{LAYER}]", "[{LAYER},{LAYER}]")],
        "2 layers, but its config has 1 diff ids",
    ),
    ("no layer, one diff id", &[("[{LAYER}]", "[]")], "0 layers, but its config has 1 diff ids"),
    ("an encrypted layer", &[("tar+gzip", "tar+gzip+encrypted")], "unknown media type"),
    (
        "an artifact",
        &[("{CONFIG_TYPE}", "application/vnd.oci.empty.v1+json")],
        "no container image",
    ),
    ("a config of another kind", &[("{CONFIG_TYPE}", "text/plain")], "no container image"),
    ("a second document", &[("}]}", "}]}{\"schemaVersion\":2}")], "not JSON (trailing characters"),
    ("rubbish behind", &[("}]}", "}]}\u{0}")], "not JSON (trailing characters"),
    ("nothing", &[("", "")], "not JSON"),
    ("a list", &[("", "[]")], "fields are of another kind"),
    ("a number", &[("", "2")], "fields are of another kind"),
    ("no UTF-8 escape", &[("\"layers\":", "\"a\":\"\\ud800\",\"layers\":")], "not JSON"),
    (
        "nested without end",
        &[("\"layers\":", "\"x\":{DEEP},\"layers\":")],
        "not JSON (recursion limit",
    ),
    (
        "nested too deep",
        &[("\"layers\":", "\"x\":{DEEPER},\"layers\":")],
        "nested deeper than 64 levels",
    ),
    ("1,025 layers", &[("[{LAYER}]", "[{LAYERS}]")], "1025 layers, more than the limit"),
    (
        "5 MiB",
        &[("\"layers\":", "\"annotations\":{\"a\":\"{MIBS}\"},\"layers\":")],
        "larger than 4194304 bytes",
    ),
];

const INDEXES: &[Case] = &[
    ("good", &[], ""),
    (
        "addresses elsewhere",
        &[("\"size\":{K}", "\"size\":{K},\"urls\":[\"http://{OTHER}/steal\"]")],
        "",
    ),
    ("another platform first", &[("[{ENTRY}", "[{FOREIGN},{ENTRY}")], ""),
    ("an attestation beside it", &[("[{ENTRY}", "[{ENTRY},{UNKNOWN}")], ""),
    ("no manifests", &[("[{ENTRY}]", "[]")], "no image for platform"),
    ("only another platform", &[("[{ENTRY}]", "[{FOREIGN}]")], "no image for platform"),
    ("manifests null", &[("[{ENTRY}]", "null")], "invalid type: null"),
    ("manifests an object", &[("[{ENTRY}]", "{}")], "invalid type: map"),
    (
        "two lists",
        &[("\"manifests\":", "\"manifests\":[],\"manifests\":")],
        "duplicate key `manifests`",
    ),
    (
        "a list in other case",
        &[("\"manifests\":", "\"Manifests\":[],\"manifests\":")],
        "only by case",
    ),
    (
        "layers as well",
        &[("\"manifests\":", "\"layers\":[],\"manifests\":")],
        "fields are of another kind",
    ),
    ("the child's size is wrong", &[("\"size\":{K}", "\"size\":{K+1}")], "bytes, not"),
    ("the child is not there", &[("{C}", "{L}")], "answered 404"),
    (
        "the child is this index again",
        &[("\"schemaVersion\":2", "\"schemaVersion\":2"), ("CYCLE", "")],
        "names another index",
    ),
    ("a platform of numbers", &[("\"amd64\"", "64")], "invalid type: integer"),
    ("4,097 manifests", &[("[{ENTRY}]", "[{ENTRIES}]")], "4097 manifests, more than the limit"),
    (
        "5 MiB of them",
        &[("\"manifests\":", "\"annotations\":{\"a\":\"{MIBS}\"},\"manifests\":")],
        "larger than 4194304 bytes",
    ),
];

const CONFIGS: &[Case] = &[
    ("good", &[], ""),
    ("unknown keys", &[("\"os\":", "\"x\":[1e3],\"os\":")], ""),
    ("a container config of null", &[("{\"Env\":[\"A=B\"]}", "null")], ""),
    ("a newline and an escape in a value", &[("A=B", "A=B\\n\\u001b[2J")], ""),
    (
        "a loader's variables",
        &[("\"A=B\"", "\"LD_PRELOAD=/x.so\",\"PATH=/evil\",\"HTTPS_PROXY=http://x\"")],
        "",
    ),
    ("a user beyond 31 bits", &[("\"Env\":", "\"User\":\"2147483648\",\"Env\":")], ""),
    ("a directory that climbs", &[("\"Env\":", "\"WorkingDir\":\"../../../..\",\"Env\":")], ""),
    (
        "volumes everywhere",
        &[("\"Env\":", "\"Volumes\":{\"/\":{},\"/kaniko\":{},\"../..\":{}},\"Env\":")],
        "",
    ),
    ("a port that is none", &[("\"Env\":", "\"ExposedPorts\":{\"99999/evil\":{}},\"Env\":")], ""),
    ("10,000 labels", &[("\"Env\":", "\"Labels\":{LABELS},\"Env\":")], ""),
    (
        "20,000 labels",
        &[("\"Env\":", "\"Labels\":{MORE_LABELS},\"Env\":")],
        "20000 labels, more than the limit",
    ),
    ("Env a text", &[("[\"A=B\"]", "\"A=B\"")], "invalid type: string"),
    ("Env of numbers", &[("[\"A=B\"]", "[1]")], "invalid type: integer"),
    ("User a number", &[("\"Env\":", "\"User\":0,\"Env\":")], "invalid type: integer"),
    ("Cmd a map", &[("\"Env\":", "\"Cmd\":{\"a\":1},\"Env\":")], "invalid type: map"),
    ("Volumes a list", &[("\"Env\":", "\"Volumes\":[\"/x\"],\"Env\":")], "invalid type: sequence"),
    (
        "Env in other case",
        &[("\"Env\":", "\"env\":[],\"Env\":")],
        "differs from a known one only by case",
    ),
    ("two Envs", &[("\"Env\":", "\"Env\":[],\"Env\":")], "duplicate key `Env`"),
    ("two operating systems", &[("\"os\":", "\"os\":\"plan9\",\"os\":")], "duplicate key `os`"),
    ("nothing in it", &[("", "{}")], "is missing"),
    ("no operating system", &[("\"os\":\"linux\"", "\"os\":null")], "is missing"),
    ("not layers", &[("\"type\":\"layers\"", "\"type\":\"other\"")], "`rootfs.type` is `other`"),
    ("no diff ids", &[("[\"{T}\"]", "null")], "1 layers, but its config has 0 diff ids"),
    (
        "two diff ids",
        &[("[\"{T}\"]", "[\"{T}\",\"{T}\"]")],
        "1 layers, but its config has 2 diff ids",
    ),
    ("a diff id that is none", &[("{T}", "sha256:x")], "invalid checksum digest length"),
    ("an impossible time", &[("\"os\":", "\"created\":\"yesterday\",\"os\":")], "invalid time"),
    ("nested without end", &[("\"os\":", "\"x\":{DEEP},\"os\":")], "nested deeper than 64 levels"),
    (
        "a second document",
        &[("\"rootfs\":{", "\"rootfs\":{"), ("END", "{}")],
        "trailing characters",
    ),
    ("no JSON", &[("", "<html>")], "expected value"),
];

/// The values of the names in braces; documents are made of them, and changes may use them.
struct Names(Vec<(&'static str, String)>);

impl Names {
    fn put(&self, text: &str) -> String {
        // Twice: descriptors hold digests.
        let once = |text: String| {
            self.0.iter().fold(text, |text, (name, value)| text.replace(name, value))
        };
        once(once(text.to_owned()))
    }

    /// The good document, changed.
    fn made(&self, good: &str, edits: Edits) -> Vec<u8> {
        let mut text = self.put(good);
        for (from, to) in edits {
            match *from {
                "" => text = self.put(to),
                "END" => text.push_str(to),
                "CYCLE" => {}
                from => {
                    let from = self.put(from);
                    assert!(text.contains(&from), "`{from}` is not in {text}");
                    text = text.replacen(&from, &self.put(to), 1);
                }
            }
        }
        text.into_bytes()
    }
}

fn descriptor(media_type: &str, digest: &str, size: &str) -> String {
    format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}}}")
}

fn entry(digest: &str, size: &str, os: &str, architecture: &str) -> String {
    let platform = format!("{{\"architecture\":\"{architecture}\",\"os\":\"{os}\"}}");
    let bare = descriptor(MANIFEST, digest, size);
    format!("{},\"platform\":{platform}}}", bare.strip_suffix('}').unwrap_or(&bare))
}

fn labels(count: usize) -> String {
    let labels: Vec<String> = (0..count).map(|number| format!("\"l{number}\":\"\"")).collect();
    format!("{{{}}}", labels.join(","))
}

/// All names but those of documents that are not made yet.
fn names(other: &str) -> Names {
    let digest = Digest::sha256_of(LAYER).to_string();
    let size = LAYER.len();
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &digest, "{M}");
    Names(vec![
        ("{LAYERS}", vec![layer.as_str(); 1025].join(",")),
        ("{ENTRIES}", vec!["{ENTRY}"; 4097].join(",")),
        ("{ENTRY}", entry("{C}", "{K}", "linux", "amd64")),
        ("{FOREIGN}", entry("{C}", "{K}", "plan9", "mips")),
        ("{UNKNOWN}", entry("{L}", "{M}", "unknown", "unknown")),
        ("{LAYER}", layer),
        ("{CONFIG}", descriptor("{CONFIG_TYPE}", "{D}", "{N}")),
        ("{CONFIG_TYPE}", "application/vnd.oci.image.config.v1+json".to_owned()),
        ("{MANIFEST}", MANIFEST.to_owned()),
        ("{INDEX}", INDEX.to_owned()),
        ("{L}", digest.clone()),
        ("{T}", digest),
        ("{M}", size.to_string()),
        ("{M-1}", (size - 1).to_string()),
        ("{M+1}", (size + 1).to_string()),
        ("{A60}", "a".repeat(60)),
        ("{UPPER}", "A".repeat(64)),
        ("{OTHER}", other.to_owned()),
        ("{DEEPER}", format!("{}{}", "[".repeat(80), "]".repeat(80))),
        ("{DEEP}", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("{MIBS}", "x".repeat(5 << 20)),
        ("{LABELS}", labels(10_000)),
        ("{MORE_LABELS}", labels(20_000)),
    ])
}

const GOOD_CONFIG: &str = "{\"architecture\":\"amd64\",\"os\":\"linux\",\
    \"config\":{\"Env\":[\"A=B\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"{T}\"]}}";
const GOOD_MANIFEST: &str = "{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\
    \"config\":{CONFIG},\"layers\":[{LAYER}]}";
const GOOD_INDEX: &str = "{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{ENTRY}]}";

/// Serves the case and takes it as a base; says what is wrong with the outcome.
async fn check(part: Part, case: &Case) -> Result<(), String> {
    let (name, edits, expected) = case;
    let edits_of = |other: Part| if other == part { *edits } else { &[] };
    let registry = FaultRegistry::start();
    let mut names = names(&registry.other_host());
    registry.put_blob("app", LAYER);
    let config = names.made(GOOD_CONFIG, edits_of(Part::Config));
    names.0.push(("{D}", registry.put_blob("app", &config)));
    names.0.push(("{N}", config.len().to_string()));
    names.0.push(("{N-1}", (config.len() - 1).to_string()));
    let manifest = names.made(GOOD_MANIFEST, edits_of(Part::Manifest));
    let tag = if part == Part::Index { "child" } else { "v1" };
    names.0.push(("{C}", registry.put_manifest("app", tag, MANIFEST, &manifest)));
    names.0.push(("{K}", manifest.len().to_string()));
    names.0.push(("{K+1}", (manifest.len() + 1).to_string()));
    if part == Part::Index {
        let mut index = names.made(GOOD_INDEX, edits);
        if edits.iter().any(|(from, _)| *from == "CYCLE") {
            // An index as the child of an index, under a type that says it is none.
            let child = registry.put_manifest("app", "inner", INDEX, &index);
            let bare = descriptor(INDEX, &child, &index.len().to_string());
            let platform = "\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}";
            let inner = format!("{},{platform}}}", bare.strip_suffix('}').unwrap_or(&bare));
            index = format!("{{\"schemaVersion\":2,\"manifests\":[{inner}]}}").into_bytes();
        }
        registry.put_manifest("app", "v1", INDEX, &index);
    }
    let found = take(&registry).await;
    let asked_elsewhere = registry.log().iter().any(|entry| entry.other_host);
    let right = match &found {
        Ok(()) => expected.is_empty(),
        Err(text) => !expected.is_empty() && text.contains(expected),
    };
    match right {
        true if asked_elsewhere => Err(format!("{name}: another host was asked")),
        true => Ok(()),
        false => Err(format!("{name}: {found:?}, not `{expected}`")),
    }
}

/// The documents as a base, and its layers.
async fn take(registry: &FaultRegistry) -> Result<(), String> {
    let client = client_with(|_| {});
    let name = reference(&registry.host(), "app:v1");
    let resolved = client.resolve(&name, &Platform::new("linux", "amd64")).await;
    let resolved = resolved.map_err(|error| chain(&error))?;
    let base = resolved.base_image().map_err(|error| chain(&error))?;
    for layer in base.layers() {
        let stream = client.pull_blob(&resolved.reference, &layer.descriptor).await;
        let mut stream = stream.map_err(|error| chain(&error))?;
        while stream.chunk().await.map_err(|error| chain(&error))?.is_some() {}
    }
    Ok(())
}

async fn check_all(part: Part, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(check(part, case).await.err());
    }
    let short: Vec<String> = wrong.iter().map(|text| text.chars().take(600).collect()).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), short.join("\n"));
}

#[tokio::test]
async fn manifests() {
    check_all(Part::Manifest, MANIFESTS).await;
}

#[tokio::test]
async fn indexes() {
    check_all(Part::Index, INDEXES).await;
}

#[tokio::test]
async fn configs() {
    check_all(Part::Config, CONFIGS).await;
}
