// SIGINT and SIGTERM ask the program to stop: stages see Progress::Stopped, save what they have and give up. A second
// SIGINT ends the program at once; what is on disk is whole either way.
#pragma once

namespace genview {

void CatchStopSignals();
bool StopRequested();

// Of several processes one tells the user what Ctrl-C does.
void StopSilently();

}  // namespace genview
