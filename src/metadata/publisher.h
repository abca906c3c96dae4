// Publisher: keeps the newest image and hands each new one to every subscriber, in order.
//
// Lives on one loop (that of the metadata log). A subscriber lives on a loop of its own and is
// reached through a post function that whoever assembles the node injects.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "metadata/delta.h"

namespace odradek::metadata {

/// Runs a function on some loop, later, in the order of the calls.
using Post = std::function<void(std::move_only_function<void()>)>;

class Publisher {
 public:
  using Sink = std::function<void(const Publication&)>;

  /// `home` posts to the loop that this publisher lives on. `first` is what subscribers see before
  /// anything is published; null means an empty image.
  explicit Publisher(Post home, ImagePtr first = nullptr);
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;
  ~Publisher();

  /// The newest image; never null.
  const ImagePtr& current() const { return current_; }
  /// From now on `sink` gets every publication on the loop of `post`, after the ones that
  /// subscribers before it got. Only before the first `publish`, or the sink must start from
  /// `current()`.
  void subscribe(Post post, Sink sink);
  /// Makes `p.image` the current one and posts it to all. `everyone` runs here once every
  /// subscriber has run its sink; it does not run if the publisher is gone by then.
  void publish(Publication p, std::move_only_function<void()> everyone = {});

 private:
  struct Subscriber {
    Post post;
    std::shared_ptr<Sink> sink;
  };

  Post home_;
  ImagePtr current_;
  std::vector<Subscriber> subscribers_;
  std::shared_ptr<bool> alive_;  // false once the publisher is gone; read on the home loop only
};

}  // namespace odradek::metadata
