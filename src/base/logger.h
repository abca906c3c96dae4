// Logger: one line per event to an injected sink. Nobody writes to standard output or a file by
// itself.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace odradek {

enum class Level { kDebug, kInfo, kWarn, kError };

/// Where lines go. `write` may be called from any thread and must not block on the disk.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(Level level, std::string_view component, std::string_view line) = 0;
};

/// A cheap value: a sink, a least level and the component's name (a literal). Default: says
/// nothing.
class Logger {
 public:
  Logger() = default;
  Logger(LogSink* sink, std::string_view component, Level least = Level::kInfo)
      : sink_(sink), component_(component), least_(least) {}
  /// The same sink and level under another component's name.
  Logger named(std::string_view component) const { return Logger(sink_, component, least_); }

  bool enabled(Level level) const { return sink_ != nullptr && level >= least_; }

  template <class... A>
  void debug(fmt::format_string<A...> f, A&&... a) const {
    write(Level::kDebug, f, std::forward<A>(a)...);
  }
  template <class... A>
  void info(fmt::format_string<A...> f, A&&... a) const {
    write(Level::kInfo, f, std::forward<A>(a)...);
  }
  template <class... A>
  void warn(fmt::format_string<A...> f, A&&... a) const {
    write(Level::kWarn, f, std::forward<A>(a)...);
  }
  template <class... A>
  void error(fmt::format_string<A...> f, A&&... a) const {
    write(Level::kError, f, std::forward<A>(a)...);
  }

 private:
  template <class... A>
  void write(Level level, fmt::format_string<A...> f, A&&... a) const {
    if (enabled(level)) sink_->write(level, component_, fmt::format(f, std::forward<A>(a)...));
  }

  LogSink* sink_ = nullptr;
  std::string_view component_;
  Level least_ = Level::kInfo;
};

}  // namespace odradek
