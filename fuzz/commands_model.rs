//! The body of the target that lets the machine and the reference model do the same; beside the others, for it needs the
//! model of the tests.

use lodemark::model::Command;
use lodemark::raft::{Proposal, decode_commands, encode_commands};

use crate::pair::{Pair, Step};
use crate::steps::steps;

/// Any bytes as steps: log entries of commands, reads, checkpoints, compaction in parts, restarts, snapshots. The machine is
/// given the commands as a log entry has them. Every reply and every event is compared, and in the end the whole state.
/// Tells whether there was a step that changed something.
pub fn commands_model(bytes: &[u8]) -> bool {
    // The length of the input chooses whether values may leave memory.
    let mut pair = Pair::new(if bytes.len().is_multiple_of(2) { 0 } else { usize::MAX });
    for step in steps(bytes) {
        if let Step::Entry { commands, .. } = &step {
            assert_eq!(&through_the_log(commands), commands);
        }
        pair.take(&step);
    }
    pair.compare_everything();
    pair.has_changed()
}

fn through_the_log(commands: &[Command]) -> Vec<Command> {
    let proposals: Vec<Proposal> = commands.iter().map(Proposal::from).collect();
    let requests = decode_commands(encode_commands(proposals.iter())).expect("what was written can be read");
    requests.into_iter().map(|request| request.command).collect()
}
