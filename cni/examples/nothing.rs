//! A program that does nothing: what it takes to start and end one, which no plugin can do without. The benchmark
//! compares with it.

fn main() {}
