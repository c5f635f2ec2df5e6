//! The dashboard for Grafana asks for what `/metrics` gives, all of it and nothing else, and can be imported.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    browser::Browser,
    monitoring::{busy, samples},
};

/// Labels that Prometheus adds to every sample.
const FROM_PROMETHEUS: [&str; 2] = ["instance", "job"];
const FUNCTIONS: [&str; 5] = ["histogram_quantile", "increase", "rate", "sum", "time"];
/// Before a list of labels in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// What an expression of PromQL names. It reads the part of PromQL that the dashboard is written in, and panics at the rest.
#[derive(Debug, Default)]
struct Names {
    metrics: BTreeSet<String>,
    /// Of a metric: label, operator and value.
    matchers: Vec<(String, String, String, String)>,
    /// In `by (…)` and the like.
    grouped: BTreeSet<String>,
    /// Whether the result has no labels but those.
    is_aggregated: bool,
}

impl Names {
    fn of(query: &str) -> Self {
        let tokens = tokens(query);
        let mut names = Self::default();
        let mut at = 0;
        let token = |at: usize| tokens.get(at).map_or("", String::as_str);
        while at < tokens.len() {
            let word = token(at);
            let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if GROUPING.contains(&word) {
                names.is_aggregated |= word == "by";
                at += 1;
                assert_eq!(token(at), "(", "{query}");
                while token(at) != ")" {
                    at += 1;
                    names.grouped.extend((![",", ")"].contains(&token(at))).then(|| token(at).to_owned()));
                }
            } else if FUNCTIONS.contains(&word) {
                names.is_aggregated |= word == "sum";
            } else if word == "[" {
                // A duration.
                assert_eq!(token(at + 2), "]", "{query}");
                at += 2;
            } else if is_name {
                names.metrics.insert(word.to_owned());
                if token(at + 1) == "{" {
                    at = names.matched(word, &tokens, at + 2);
                }
            } else {
                let is_number = word.parse::<f64>().is_ok();
                assert!(is_number || "(),*/+-".contains(word), "“{word}” of {query}");
            }
            at += 1;
        }
        names
    }

    /// Reads matchers up to the closing brace, and says where that is.
    fn matched(&mut self, metric: &str, tokens: &[String], mut at: usize) -> usize {
        while tokens[at] != "}" {
            let [label, operator, value] = &tokens[at..at + 3] else { panic!("{tokens:?}") };
            assert!(["=", "!=", "=~", "!~"].contains(&operator.as_str()), "{tokens:?}");
            let value = value.trim_matches('"').to_owned();
            self.matchers.push((metric.to_owned(), label.clone(), operator.clone(), value));
            at += 3;
            at += usize::from(tokens[at] == ",");
        }
        at
    }
}

fn tokens(query: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || "_.:$".contains(c);
        let end = match first {
            '"' => rest[1..].find('"').expect("a string ends") + 2,
            '=' | '!' => rest.find(|c| !"=!~".contains(c)).unwrap_or(rest.len()),
            _ if in_word(first) => rest.find(|c| !in_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    tokens
}

/// The samples of `/metrics`: for each name its labels, each with its values.
fn given(text: &str) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut given = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for sample in samples(text).into_keys() {
        let (name, labels) = sample.split_once('{').unwrap_or((&sample, ""));
        let of_name = given.entry(name.to_owned()).or_default();
        for pair in labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{sample}"));
            of_name.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    // A machine without a GPU has no samples of its memory, whose label is that of the host's.
    let states = |values: [&str; 2]| {
        BTreeMap::from([("state".to_owned(), values.map(str::to_owned).into_iter().collect())])
    };
    given.entry("adire_device_memory_bytes".to_owned()).or_insert_with(|| states(["total", "free"]));
    given
}

fn dashboard() -> Value {
    let json = std::fs::read_to_string("../docs/grafana.json").unwrap();
    serde_json::from_str(&json).unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

/// The names in `{{…}}`.
fn braced(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()).collect()
}

#[tokio::test]
async fn every_panel_of_grafana_queries_metrics_and_labels_that_exist() {
    let server = busy().await;
    let maker = Browser::new(&server).await;
    let image = maker.image("moons").await;
    let rated = format!("/api/v1/generations/{}/images/0/rating", image.trim_end_matches("/0"));
    assert_eq!(maker.json("PUT", &rated, &json!({ "thumb": "up" })).await.status, 200);
    let metrics = server.get("/metrics").await.text();
    let given = given(&metrics);
    let dashboard = dashboard();
    let mut asked = BTreeSet::new();
    for target in list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets")) {
        let (query, legend) = (text(target, "expr"), text(target, "legendFormat"));
        let names = Names::of(query);
        assert!(!names.metrics.is_empty(), "{query}");
        let labels_of =
            |metric: &str| given.get(metric).unwrap_or_else(|| panic!("{metric} of {query}: {metrics}"));
        let mut known: BTreeSet<&str> = FROM_PROMETHEUS.into();
        for metric in &names.metrics {
            known.extend(labels_of(metric).keys().map(String::as_str));
        }
        for (metric, label, operator, value) in &names.matchers {
            let values = labels_of(metric).get(label).unwrap_or_else(|| panic!("{label} of {query}"));
            let alternatives = value.split('|').filter(|value| !value.starts_with('$'));
            for value in alternatives {
                assert!(
                    operator.starts_with('=') && values.contains(value),
                    "{value} of {query}: {values:?}"
                );
            }
        }
        for label in &names.grouped {
            assert!(known.contains(label.as_str()), "{label} of {query}");
        }
        for label in braced(legend) {
            let remains =
                if names.is_aggregated { names.grouped.contains(label) } else { known.contains(label) };
            assert!(remains, "{label} in the legend of {query}");
        }
        asked.extend(names.metrics);
    }
    for variable in list(&dashboard["templating"], "list") {
        if let Some(query) = variable["query"]["query"].as_str() {
            let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (metric, label) = inside.split_once(", ").unwrap();
            assert!(given[metric].contains_key(label), "{query}");
        }
    }
    // Nothing that is measured is left without a panel.
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        assert!(asked.iter().any(|name| name.starts_with(family)), "no panel shows {family}");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard = dashboard();
    assert!(
        dashboard["schemaVersion"].as_u64().unwrap() >= 36,
        "older ones name data sources in another way"
    );
    assert!(dashboard["id"].is_null(), "the number in one Grafana means another dashboard in the next");
    assert!(!text(&dashboard, "uid").is_empty() && !text(&dashboard, "title").is_empty());
    let requires: Vec<&str> =
        list(&dashboard, "__requires").iter().map(|plugin| text(plugin, "id")).collect();
    assert!(requires.contains(&"prometheus"), "{requires:?}");

    // The data source is chosen on the dashboard, so an import asks for nothing.
    assert!(list(&dashboard, "__inputs").is_empty());
    let variables = list(&dashboard["templating"], "list");
    let source = variables.iter().find(|variable| variable["type"] == "datasource").unwrap();
    assert_eq!((text(source, "name"), text(source, "query")), ("datasource", "prometheus"));
    let chosen = json!({ "type": "prometheus", "uid": "${datasource}" });
    let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    let built_in = ["__rate_interval"];

    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: another panel has this id");
        assert_eq!(panel["datasource"], chosen, "{title}");
        let mut letters = BTreeSet::new();
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"], chosen, "{title}");
            assert!(letters.insert(text(target, "refId")), "{title}: two queries have one letter");
            for used in text(target, "expr").split('$').skip(1) {
                let end = used.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(used.len());
                let used = &used[..end];
                assert!(
                    names.contains(used) || built_in.contains(&used),
                    "{title}: ${used} is not a variable"
                );
            }
        }
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is wider than the grid");
        let area = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        area.for_each(|cell| assert!(cells.insert(cell), "{title} covers another panel at {cell:?}"));
    }
    assert!(ids.len() > 10);
}

#[test]
fn names_are_read_out_of_expressions() {
    let names =
        Names::of("sum by (le, a) (rate(b_bucket{c=~\"$d|x\",e=\"f\"}[5m])) * 3.5 / time() - ignoring(g) h");
    assert_eq!(names.metrics, ["b_bucket", "h"].map(str::to_owned).into());
    assert_eq!(names.grouped, ["a", "g", "le"].map(str::to_owned).into());
    let matchers: Vec<_> = names.matchers.iter().map(|(_, label, _, value)| (&**label, &**value)).collect();
    assert_eq!(matchers, [("c", "$d|x"), ("e", "f")]);
    assert!(std::panic::catch_unwind(|| Names::of("up offset 5m and vector(1) or \"x\"")).is_err());
}
