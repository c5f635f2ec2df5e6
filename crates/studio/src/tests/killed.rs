//! Processes that are killed at random moments. `ADIRE_CRASHES` sets how often, `ADIRE_CRASH_SEED` when.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use super::{random::Dice, *};

/// Names the data folder, for the process that is killed.
const DATA: &str = "ADIRE_CRASH_DATA";
/// Names its database, if it is not a file of that folder.
const DATABASE: &str = "ADIRE_CRASH_DATABASE";
/// Long enough for a start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How often processes are killed unless the environment says so, and the seed of the moments.
pub(super) fn plan(crashes: u64) -> (u64, u64) {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    (number("ADIRE_CRASHES", crashes), number("ADIRE_CRASH_SEED", 7))
}

/// In the process that is killed: its data folder and its database.
pub(super) fn place() -> Option<(PathBuf, Option<String>)> {
    Some((std::env::var_os(DATA)?.into(), std::env::var(DATABASE).ok()))
}

/// One life of a process that runs an ignored test, ended by `kill -9`: sometimes before it has opened its folder. The whole
/// lines that it printed.
pub(super) fn life(test: &str, data: &Path, database: Option<&str>, dice: &mut Dice) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(DATA, data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(database) = database {
        command.env(DATABASE, database);
    }
    let mut child = command.spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        // The last line may be cut off: the process is killed while it writes.
        let whole = output.split(b'\n').map_while(Result::ok);
        whole.for_each(|line| drop(sender.send(String::from_utf8_lossy(&line).into_owned())));
    });
    let errors = child.stderr.take().unwrap();
    let errors = thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
    let mut read = Vec::new();
    if dice.roll(10) < 7 {
        // The test's harness prints its own lines, in front of the first one, too.
        while let Ok(line) = lines.recv_timeout(START) {
            let ready = line.ends_with("ready");
            read.push(if ready { "ready".to_owned() } else { line });
            if ready {
                break;
            }
        }
        thread::sleep(Duration::from_millis(dice.roll(200)));
    } else {
        thread::sleep(Duration::from_millis(dice.roll(60)));
    }
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    let errors = errors.join().unwrap();
    assert!(ended.is_none(), "it ended by itself: {errors}");
    read.extend(lines);
    read
}
