//! The options of `adire generate` that stand in the table of fields.

use adire_protocol::{
    GenerationRequest, Limits, Rng, Sampler, Schedule,
    fields::{FIELDS, Field, Slot, Unreadable, Value},
};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

/// A request with what these options say, and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(pub(crate) GenerationRequest);

/// The fields with an option of their own. One image is made, of one prompt, and `--hires` holds all of the hires pass.
fn own_options() -> impl Iterator<Item = &'static Field> {
    FIELDS
        .iter()
        .filter(|field| !matches!(field.name, "count" | "per_line") && !field.name.starts_with("hires."))
}

impl Args for Parameters {
    fn augment_args(command: Command) -> Command {
        command.args(own_options().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Parameters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut parameters = Self::default();
        parameters.update_from_arg_matches(matches)?;
        Ok(parameters)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for field in own_options() {
            if let Some(text) = matches.get_one::<String>(field.name) {
                // The option's parser has read it before.
                read(field, &mut self.0, text)
                    .map_err(|error| clap::Error::raw(clap::error::ErrorKind::ValueValidation, error))?;
            }
        }
        Ok(())
    }
}

fn option(field: &'static Field) -> Arg {
    let option = Arg::new(field.name)
        .long(field.name.replace('_', "-"))
        .value_name(field.name.to_uppercase())
        .help(help(field))
        .allow_negative_numbers(true)
        .value_parser(move |text: &str| {
            read(field, &mut GenerationRequest::default(), text).map(|()| text.to_owned())
        });
    match field.name {
        "denoising_strength" => option.alias("strength").requires("init_image"),
        "keep_unmasked" => option.requires("mask"),
        _ => option,
    }
}

/// `Number of sampling steps [range: 1 to 150]`.
fn help(field: &Field) -> String {
    let mut help = field.help.sentence().replace('`', "");
    help.truncate(help.trim_end_matches('.').len());
    let range = (field.range)(&Limits::default());
    let names = match field.slot(&mut GenerationRequest::default()) {
        Some(Slot::Sampler(_)) => Sampler::ALL.map(Sampler::name).join(", "),
        Some(Slot::Schedule(_)) => Schedule::ALL.map(Schedule::name).join(", "),
        Some(Slot::Rng(_)) => Rng::ALL.map(Rng::name).join(", "),
        _ => String::new(),
    };
    if range.is_bounded() {
        help.push_str(&format!(" [range: {range}]"));
    } else if !names.is_empty() {
        help.push_str(&format!(" [one of: {names}]"));
    }
    match field.fixed_default() {
        Value::None => help,
        default => format!("{help} [default: {default}]"),
    }
}

fn read(field: &Field, request: &mut GenerationRequest, text: &str) -> Result<(), String> {
    let Some(slot) = field.slot(request) else { return Ok(()) };
    let kind = match slot {
        Slot::Seed(_) => "a whole number, or -1 for a random one",
        Slot::Whole(_) => "a whole number",
        Slot::Flag(_) => "true or false",
        _ => "a number",
    };
    slot.set(text).map_err(|error| match error {
        Unreadable::Name(sentence) => sentence,
        Unreadable::Other => format!("{} must be {kind}", field.subject()),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        generate: crate::commands::generate::GenerateArgs,
    }

    #[test]
    fn every_field_has_an_option() {
        let command = <Line as clap::CommandFactory>::command();
        let option = |name: &str| command.get_arguments().find(|argument| argument.get_long() == Some(name));
        for field in FIELDS.iter().filter(|field| !matches!(field.name, "count" | "per_line")) {
            let own = field.name.replace('_', "-");
            let name = if own.starts_with("hires.") { "hires" } else { own.as_str() };
            let help = option(name).and_then(Arg::get_help).map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "--{name} is missing or has no help");
            let range = (field.range)(&Limits::default());
            assert!(name == "hires" || !range.is_bounded() || help.contains(&range.to_string()), "{help}");
        }
    }

    #[test]
    fn options_become_a_request() {
        let line = |more: &[&str]| {
            let fixed = ["adire", "--prompt", "moons", "--out", "a.png"];
            Line::try_parse_from(fixed.iter().chain(more)).map(|line| line.generate.parameters.0)
        };
        let read =
            line(&["--steps", "7", "--sampler", "euler_a", "--schedule", "normal", "--seed", "-1"]).unwrap();
        assert_eq!((read.steps, read.seed, read.count), (Some(7), None, None));
        assert_eq!(read.sampling(), Some(Sampler::EulerA.into()));
        let fused = line(&["--sampler", "DPM++ 2M Karras"]).unwrap();
        assert_eq!(fused.sampling(), Some(Sampler::Dpmpp2m.automatic()));
        for wrong in
            [["--steps", "many"], ["--sampler", "magic"], ["--denoising-strength", "0.5"], ["--rng", "x"]]
        {
            assert!(line(&wrong).is_err(), "{wrong:?}");
        }
        let begun = line(&["--init-image", "a.png", "--strength", "0.4"]).unwrap();
        assert_eq!(begun.denoising_strength, Some(0.4));
    }
}
