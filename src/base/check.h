// CHECK for what cannot happen: a broken invariant ends the process with the place and the
// expression. Checks stay on in every build. What can happen is a Result (result.h).
#pragma once

namespace odradek {

/// Prints the message to standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* expression);

}  // namespace odradek

#define ODRADEK_CHECK(expression)          \
  (static_cast<bool>(expression) ? void(0) \
                                 : ::odradek::check_failed(__FILE__, __LINE__, #expression))
