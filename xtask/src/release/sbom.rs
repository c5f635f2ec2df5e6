//! The list of what is in the program, as CycloneDX 1.6 (JSON).

use cargo_metadata::Package;
use serde_json::{Value, json};

use super::parts::{Other, Parts};

/// The document of a release.
pub(super) fn document(parts: &Parts) -> Value {
    let components = parts.packages.iter().map(component).chain(parts.others.iter().map(other));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "adire",
                "name": "adire",
                "version": parts.version,
                "licenses": [{ "expression": "Apache-2.0 OR MIT" }],
            },
        },
        "components": components.collect::<Vec<_>>(),
    })
}

fn other(other: &Other) -> Value {
    let license = match other.license {
        Ok(expression) => json!({ "expression": expression }),
        Err(name) => json!({ "license": { "name": name, "url": other.url } }),
    };
    let mut component = json!({
        "type": "library",
        "bom-ref": other.name,
        "name": other.name,
        "licenses": [license],
        "externalReferences": [{ "type": "website", "url": other.url }],
    });
    if let Some(version) = &other.version {
        component["version"] = json!(version);
    }
    component
}

fn component(package: &Package) -> Value {
    let url = format!("pkg:cargo/{}@{}", package.name, package.version);
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": package.name.as_str(),
        "version": package.version.to_string(),
        "purl": url,
    });
    if let Some(license) = &package.license {
        // Old manifests separate alternatives by a slash.
        component["licenses"] =
            json!([{ "expression": license.replace(" / ", " OR ").replace('/', " OR ") }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}
