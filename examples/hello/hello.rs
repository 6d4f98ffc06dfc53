//! Says where it comes from.

fn main() {
    println!("hello from an image made of one file");
}
