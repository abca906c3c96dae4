// Where the log lines of the process go: standard error, through a bounded queue and a thread, so
// that a loop never waits for a terminal or a disk. When the queue is full the oldest lines are
// dropped.
#pragma once

#include <memory>

#include "base/logger.h"

namespace odradek::app {

/// `json`: one JSON object per line instead of text.
std::unique_ptr<LogSink> make_stderr_sink(bool json);

}  // namespace odradek::app
