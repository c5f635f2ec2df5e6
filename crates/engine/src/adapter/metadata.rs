//! What a file says of itself beside its tensors: scales that diffusers and PEFT store apart, and text for people.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{format::Component, kind::ScaleRule, patterns::Patterns, rotation::OftRule};

/// The header's `__metadata__`, with the scale rules in it understood.
#[derive(Debug)]
pub(super) struct Metadata {
    entries: BTreeMap<String, String>,
    unet: Option<PeftConfig>,
    text_encoder: Option<PeftConfig>,
    /// From `adapter_config.json`, or unprefixed: whatever component the file is for.
    any: Option<PeftConfig>,
}

/// The kinds of PEFT whose folders are read.
const KINDS: [&str; 6] = ["LORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT"];

/// The part of PEFT's configs that decides scales.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PeftConfig {
    peft_type: Option<String>,
    r: Option<f64>,
    rank_pattern: Patterns,
    /// LoHa and LoKr call it `alpha`.
    #[serde(alias = "alpha")]
    lora_alpha: Option<f64>,
    alpha_pattern: Patterns,
    use_rslora: bool,
    /// (IA)³: modules whose inputs are multiplied.
    feedforward_modules: Modules,
    coft: bool,
    eps: Option<f64>,
    block_share: bool,
    use_cayley_neumann: Option<bool>,
    num_cayley_neumann_terms: Option<usize>,
}

/// PEFT's way to name modules: ends of paths, or one regular expression.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
enum Modules {
    Ends(Vec<String>),
    Expression(String),
    #[default]
    None,
}

impl Modules {
    fn hold(&self, module: &str) -> bool {
        match self {
            Self::Ends(ends) => ends.iter().any(|end| module.ends_with(end.as_str())),
            // `re.fullmatch`.
            Self::Expression(text) => {
                regex::Regex::new(&format!("^(?:{text})$")).is_ok_and(|regex| regex.is_match(module))
            }
            Self::None => false,
        }
    }
}

impl PeftConfig {
    fn is(&self, kind: &str) -> bool {
        self.peft_type.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(kind))
    }

    fn oft(&self) -> OftRule {
        let defaults = OftRule::default();
        OftRule {
            neumann: match self.use_cayley_neumann {
                Some(false) => None,
                _ => self.num_cayley_neumann_terms.or(defaults.neumann),
            },
            // PEFT's own default.
            eps: self.coft.then(|| self.eps.unwrap_or(6e-5)),
            is_shared: self.block_share,
        }
    }
}

impl Metadata {
    /// `peft_config` is the text of `adapter_config.json`. The error is a sentence about the file.
    pub(super) fn new(entries: HashMap<String, String>, peft_config: Option<&str>) -> Result<Self, String> {
        let mut any = peft_config
            .map(|text| {
                // serde would take an array for a struct whose fields all have defaults.
                if !text.trim_start().starts_with('{') {
                    return Err(
                        "lies beside an adapter_config.json that cannot be understood (it is not an object)."
                            .to_owned(),
                    );
                }
                serde_json::from_str::<PeftConfig>(text).map_err(|error| {
                    format!("lies beside an adapter_config.json that cannot be understood ({error}).")
                })
            })
            .transpose()?;
        if let Some(kind) = any.as_ref().and_then(|config| config.peft_type.as_deref())
            && !KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))
        {
            let kind: String = kind.chars().take(40).collect();
            return Err(format!(
                "lies beside an adapter_config.json of PEFT type {kind}; expected one of {}.",
                KINDS.join(", ")
            ));
        }
        let (mut unet, mut text_encoder) = (None, None);
        if let Some(text) = entries.get("lora_adapter_metadata") {
            let fail = |error| {
                format!(
                    "has a lora_adapter_metadata that cannot be understood ({error}); its scales would be wrong."
                )
            };
            let all: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(fail)?;
            unet = component_config(&all, "unet.").map_err(fail)?;
            text_encoder = component_config(&all, "text_encoder.").map_err(fail)?;
            if unet.is_none() && text_encoder.is_none() && any.is_none() {
                any = Some(serde_json::from_value(Value::Object(all)).map_err(fail)?);
            }
        }
        Ok(Self { entries: entries.into_iter().collect(), unet, text_encoder, any })
    }

    pub(super) fn entries(&self) -> &BTreeMap<String, String> {
        &self.entries
    }

    /// How `module` (the path in its model) is scaled where its tensors do not say.
    pub(super) fn scale_rule(&self, component: Option<Component>, module: &str) -> ScaleRule {
        let config = match component {
            Some(Component::Unet) => self.unet.as_ref().or(self.any.as_ref()),
            Some(Component::TextEncoder) => self.text_encoder.as_ref().or(self.any.as_ref()),
            None => self.any.as_ref(),
        };
        let Some(config) = config else { return ScaleRule::default() };
        let alpha = config.alpha_pattern.first(module).or(config.lora_alpha);
        // LyCORIS' kinds in PEFT always divide by r, factors or not.
        let rank = config.rank_pattern.first(module).or(config.r).filter(|rank| *rank > 0.0);
        ScaleRule {
            alpha,
            rank: rank.filter(|_| config.is("LOKR")),
            rank_stabilised: config.use_rslora,
            on_input: config.feedforward_modules.hold(module),
            oft: config.oft(),
        }
    }
}

fn component_config(
    all: &serde_json::Map<String, Value>,
    prefix: &str,
) -> Result<Option<PeftConfig>, serde_json::Error> {
    let own: serde_json::Map<String, Value> = all
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect();
    if own.is_empty() { Ok(None) } else { serde_json::from_value(Value::Object(own)).map(Some) }
}
