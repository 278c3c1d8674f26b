//! Tests with the environments of the systems.

mod facts;
mod scopes;

use std::collections::BTreeMap;

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}
