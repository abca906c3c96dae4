#include "app/log_sink.h"

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <boost/json.hpp>
#include <string>

namespace odradek::app {

namespace {

constexpr size_t kQueuedLines = 1024;

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

class StderrSink final : public LogSink {
 public:
  explicit StderrSink(bool json)
      : json_(json), pool_(std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1)) {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
    logger_ = std::make_shared<spdlog::async_logger>("odradek", sink, pool_,
                                                     spdlog::async_overflow_policy::overrun_oldest);
    logger_->set_level(spdlog::level::trace);
    logger_->set_pattern(json ? "%v" : "[%Y-%m-%d %H:%M:%S,%e] %^%l%$ %v");
    logger_->flush_on(spdlog::level::warn);
  }
  ~StderrSink() override { logger_->flush(); }

  void write(Level level, std::string_view component, std::string_view line) override {
    if (json_) {
      boost::json::object o{{"component", component}, {"message", line}};
      o["level"] = spdlog::level::to_string_view(to_spdlog(level)).data();
      logger_->log(to_spdlog(level), boost::json::serialize(o));
    } else {
      logger_->log(to_spdlog(level), "[{}] {}", component, line);
    }
  }

 private:
  bool json_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace

std::unique_ptr<LogSink> make_stderr_sink(bool json) { return std::make_unique<StderrSink>(json); }

}  // namespace odradek::app
