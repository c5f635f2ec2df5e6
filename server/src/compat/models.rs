//! Names of models. To other programs the base model and each adapter version on it are models of their own:
//! `sd15`, `sd15+adire@v2`, `sd15+adire@production`.

use adire_protocol::{AdapterRef, AdapterUse, AdapterVersion, FieldError, Which};
use adire_studio::Studio;

use crate::error::{Problem, ProblemKind};

/// The base model without adapters.
pub(crate) const BASE: &str = "sd15";

/// Files that other programs' titles name.
const EXTENSIONS: [&str; 3] = [".safetensors", ".ckpt", ".pt"];

/// A model as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `sd15+adire@v2`.
    pub(crate) title: String,
    /// sha256 of the file that makes it different from the base; the base's own for the base.
    pub(crate) hash: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
}

/// Every model: the base, each version and each alias of a version.
pub(crate) async fn list(studio: &Studio) -> Result<Vec<Listed>, Problem> {
    let mut listed = vec![Listed { title: BASE.to_owned(), hash: studio.model().hash.clone(), created: 0 }];
    for version in studio.adapters().await? {
        let names = std::iter::once(format!("v{}", version.version)).chain(version.aliases.iter().cloned());
        listed.extend(names.map(|which| Listed {
            title: format!("{BASE}+{}@{which}", version.name),
            hash: version.hash.clone(),
            created: version.created_at / 1000,
        }));
    }
    Ok(listed)
}

/// The adapters of a model: none of the base; several where their names are joined by `+`.
pub(crate) async fn adapters(studio: &Studio, title: &str) -> Result<Vec<AdapterUse>, Problem> {
    let name = bare(title);
    if is_base(studio, name) {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = match name.split_once('+') {
        Some((base, rest)) if is_base(studio, base) => rest.split('+').collect(),
        _ => name.split('+').collect(),
    };
    let offered = studio.adapters().await?;
    let found =
        parts.into_iter().map(|part| find(&offered, part).map(|version| AdapterUse::new(version.id(), 1.0)));
    found.collect::<Option<_>>().ok_or_else(|| unknown(title))
}

/// A model by its title.
pub(crate) async fn find_listed(studio: &Studio, title: &str) -> Result<Listed, Problem> {
    list(studio).await?.into_iter().find(|listed| listed.title == bare(title)).ok_or_else(|| unknown(title))
}

/// A title without the hash that A1111 writes behind it, and without a file's ending.
fn bare(title: &str) -> &str {
    let title = title.split(" [").next().unwrap_or_default().trim();
    EXTENSIONS.iter().find_map(|end| title.strip_suffix(end)).unwrap_or(title)
}

fn is_base(studio: &Studio, name: &str) -> bool {
    name.is_empty() || name.eq_ignore_ascii_case(BASE) || name == studio.model().name
}

fn find<'v>(offered: &'v [AdapterVersion], name: &str) -> Option<&'v AdapterVersion> {
    let wanted: AdapterRef = name.parse().ok()?;
    let fitting = offered.iter().filter(|version| wanted.means(version));
    match wanted.which {
        Which::Newest => fitting.max_by_key(|version| version.version),
        _ => fitting.into_iter().next(),
    }
}

fn unknown(title: &str) -> Problem {
    let shown: String = title.chars().take(80).collect();
    let message = format!("Model {shown} not found; the list of models has the names.");
    let errors = vec![FieldError { field: "adapters".to_owned(), message: message.clone() }];
    Problem { errors, ..Problem::new(ProblemKind::NotFound, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_lose_what_other_programs_add() {
        for title in ["sd15+adire@v2", "sd15+adire@v2 [0123456789]", " sd15+adire@v2.safetensors [ab]"] {
            assert_eq!(bare(title), "sd15+adire@v2");
        }
    }
}
