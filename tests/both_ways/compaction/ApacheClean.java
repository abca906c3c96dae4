// ApacheClean DIR: cleans the logs DIR/SEED/apache/t-0 that clean_histories wrote, in the same
// rounds, with Apache Kafka's own Cleaner, and writes what is left to DIR/SEED/apache.N.
import java.io.File;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;

import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class ApacheClean {
    static class FixedTime implements Time {
        long now = 1_700_000_000_000L;
        @Override public long milliseconds() { return now; }
        @Override public long hiResClockMs() { return now; }
        @Override public long nanoseconds() { return now * 1_000_000; }
        @Override public void sleep(long ms) { }
        @Override public void waitObject(Object obj, Supplier<Boolean> condition, long deadlineMs) { }
    }

    static final KafkaScheduler SCHEDULER = new KafkaScheduler(1);
    static final BrokerTopicStats STATS = new BrokerTopicStats();

    public static void main(String[] args) throws Exception {
        SCHEDULER.startup();
        File[] all = new File(args[0]).listFiles(f -> new File(f, "plan").exists());
        for (File at : all) clean(at);
        System.exit(0);
    }

    static void clean(File at) throws Exception {
        List<String> plan = Files.readAllLines(new File(at, "plan").toPath());
        String[] settings = plan.get(0).split(" ");
        Map<String, Object> config = new HashMap<>();
        config.put("internal.segment.bytes", Integer.parseInt(settings[0]));
        config.put("index.interval.bytes", Integer.parseInt(settings[1]));
        config.put("segment.index.bytes", Integer.parseInt(settings[2]));
        config.put("delete.retention.ms", Long.parseLong(settings[3]));
        config.put("cleanup.policy", "compact");
        FixedTime time = new FixedTime();
        UnifiedLog log = UnifiedLog.create(new File(at, "apache/t-0"), new LogConfig(config), 0L, Long.MAX_VALUE,
            SCHEDULER, STATS, time, Integer.MAX_VALUE, new ProducerStateManagerConfig(Integer.MAX_VALUE, false),
            Integer.MAX_VALUE, new LogDirFailureChannel(1), true, Optional.empty());
        log.updateHighWatermark(log.logEndOffset());
        for (int round = 0; round + 1 < plan.size(); round++) {
            time.now = Long.parseLong(plan.get(round + 1));
            round(log, time, Integer.parseInt(settings[4]), new File(at, "apache." + round));
        }
        log.close();
    }

    static void round(UnifiedLog log, FixedTime time, int mapBytes, File out) throws Exception {
        long uncleanable = Math.min(log.lastStableOffset(), log.activeSegment().baseOffset());
        LogToClean what = new LogToClean(log, 0L, uncleanable, true);
        long next = 0;
        if (what.cleanableBytes() > 0) {
            Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(mapBytes), 256 << 10, 1 << 20, 0.9,
                new Throttler(Double.MAX_VALUE, 300, "x", "x", time), time, partition -> { });
            next = cleaner.doClean(what, time.now).getKey();
        }
        try (PrintWriter writer = new PrintWriter(out, StandardCharsets.UTF_8)) {
            for (LogSegment segment : log.logSegments())
                for (RecordBatch batch : segment.log().batches()) writer.println(line(batch));
            writer.println("next " + next);
        }
    }

    static String line(RecordBatch b) {
        StringBuilder text = new StringBuilder();
        text.append(b.baseOffset()).append(' ').append(b.lastOffset()).append(" epoch ")
            .append(b.partitionLeaderEpoch()).append(" producer ").append(b.producerId()).append(' ')
            .append(b.producerEpoch()).append(' ').append(b.baseSequence()).append(' ')
            .append(b.isTransactional() ? "t" : "-").append(b.isControlBatch() ? "c" : "-").append(" horizon ")
            .append(b.deleteHorizonMs().orElse(-1)).append(" max ").append(b.maxTimestamp());
        for (Record r : b) {
            text.append(' ').append(r.offset()).append('@').append(r.timestamp());
            if (b.isControlBatch()) continue;
            text.append(':').append(r.hasKey() ? StandardCharsets.UTF_8.decode(r.key()) : "null").append('=')
                .append(r.hasValue() ? StandardCharsets.UTF_8.decode(r.value()) : "null");
        }
        return text.toString();
    }
}
