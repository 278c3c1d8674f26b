//! The support of the end-to-end tests, tested without the product: against plain directories.

mod fixtures {
    mod harness;
    mod tools;
    mod trees;
}
