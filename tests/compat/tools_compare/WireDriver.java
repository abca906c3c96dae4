import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.DataInputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import java.util.regex.*;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.ResponseHeader;

/**
 * Sends requests of every version on a raw socket and prints the answers as JSON, by Apache Kafka's own message classes.
 * {@code WireDriver REQUESTS HOST PORT} reads requests.txt and prints, for each request and version, a line
 * "### wire-name-vN: status" and the answer. ${V} is the version, ${ID:topic} the id of a topic.
 */
public class WireDriver {
    static final ObjectMapper JSON = new ObjectMapper();
    static String host;
    static int port;
    static Socket socket;
    static int correlation;

    record Request(String name, ApiKeys api, String template) { }

    public static void main(String[] args) throws Exception {
        host = args[1];
        port = Integer.parseInt(args[2]);
        Map<ApiKeys, short[]> served = apiVersions();
        for (Request request : parse(Files.readString(Path.of(args[0])))) {
            short low = request.api.oldestVersion(), high = request.api.latestVersion();
            short[] there = served.get(request.api);
            if (there == null) {
                System.out.println("### wire-" + request.name + ": not served");
                continue;
            }
            for (short v = low; v <= high; v++) {
                String status, text = "";
                try {
                    text = exchange(request, v);
                    status = "answered";
                } catch (org.apache.kafka.common.errors.UnsupportedVersionException notInThisVersion) {
                    continue;
                } catch (Exception problem) {
                    status = problem.getClass().getSimpleName();
                    text = status.equals("EOFException") ? "" : String.valueOf(problem.getMessage());
                    drop();
                }
                System.out.println("### wire-" + request.name + "-v" + v + ": " + status);
                System.out.println(text);
            }
        }
        Runtime.getRuntime().halt(0);
    }

    /** Requests: "name: Api {json}", further lines indented. */
    static List<Request> parse(String text) {
        List<Request> found = new ArrayList<>();
        String joined = text.replaceAll("(?m)^#.*\\R", "").replaceAll("\\R[ \\t]+", " ");
        for (String line : joined.split("\\R")) {
            if (line.isBlank()) continue;
            String[] parts = line.split(":? ", 3);
            found.add(new Request(parts[0], ApiKeys.valueOf(parts[1]), parts.length > 2 ? parts[2] : "{}"));
        }
        return found;
    }

    static void drop() {
        try {
            if (socket != null) socket.close();
        } catch (java.io.IOException ignored) {
            // It is being given up anyway.
        }
        socket = null;
    }

    static ByteBuffer send(ApiKeys api, short version, Message body) throws Exception {
        if (socket == null) {
            socket = new Socket(host, port);
            socket.setSoTimeout(10000);
            socket.setTcpNoDelay(true);
        }
        RequestHeader header = new RequestHeader(api, version, "wire", ++correlation);
        ByteBuffer message = org.apache.kafka.common.requests.RequestUtils.serialize(header.data(), header.headerVersion(),
            body, version);
        ByteBuffer framed = ByteBuffer.allocate(4 + message.remaining());
        framed.putInt(message.remaining()).put(message);
        socket.getOutputStream().write(framed.array());
        DataInputStream in = new DataInputStream(socket.getInputStream());
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        ByteBuffer buffer = ByteBuffer.wrap(answer);
        ResponseHeader got = ResponseHeader.parse(buffer, api.responseHeaderVersion(version));
        if (got.correlationId() != correlation) throw new IllegalStateException("answer to " + got.correlationId());
        return buffer;
    }

    static Map<ApiKeys, short[]> apiVersions() throws Exception {
        ByteBuffer buffer = send(ApiKeys.API_VERSIONS, (short) 0, new ApiVersionsRequestData());
        Map<ApiKeys, short[]> found = new HashMap<>();
        for (var key : new ApiVersionsResponseData(new ByteBufferAccessor(buffer), (short) 0).apiKeys())
            if (ApiKeys.hasId(key.apiKey()))
                found.put(ApiKeys.forId(key.apiKey()), new short[] {key.minVersion(), key.maxVersion()});
        return found;
    }

    static String topicId(String topic) throws Exception {
        var request = new MetadataRequestData().setAllowAutoTopicCreation(false)
            .setTopics(List.of(new MetadataRequestData.MetadataRequestTopic().setName(topic)));
        ByteBuffer buffer = send(ApiKeys.METADATA, (short) 12, request);
        for (var found : new MetadataResponseData(new ByteBufferAccessor(buffer), (short) 12).topics())
            if (topic.equals(found.name())) return found.topicId().toString();
        return org.apache.kafka.common.Uuid.ZERO_UUID.toString();
    }

    static String fill(String template, short version) throws Exception {
        String text = template.replace("${V}", "" + version);
        Matcher matcher = Pattern.compile("\\$\\{ID:([^}]*)}").matcher(text);
        StringBuilder out = new StringBuilder();
        while (matcher.find()) matcher.appendReplacement(out, topicId(matcher.group(1)));
        return matcher.appendTail(out).toString();
    }

    static Class<?> converter(ApiKeys api, String kind) throws Exception {
        return Class.forName("org.apache.kafka.common.message." + api.name + kind + "DataJsonConverter");
    }

    static String exchange(Request request, short version) throws Exception {
        String json = fill(request.template, version);
        Message body = request.api == ApiKeys.PRODUCE ? produce(json, version) : read(request.api, json, version);
        ByteBuffer buffer = send(request.api, version, body);
        Message answer = request.api.messageType.newResponse();
        answer.read(new ByteBufferAccessor(buffer), version);
        if (request.api == ApiKeys.CREATE_TOPICS) Thread.sleep(300);    // Apache's brokers hear of it a little later
        if (buffer.hasRemaining()) throw new IllegalStateException(buffer.remaining() + " bytes too many");
        Class<?> type = converter(request.api, "Response");
        JsonNode node;
        if (request.api == ApiKeys.FETCH)
            node = (JsonNode) type.getMethod("write", answer.getClass(), short.class, boolean.class)
                .invoke(null, answer, version, false);
        else node = (JsonNode) type.getMethod("write", answer.getClass(), short.class).invoke(null, answer, version);
        String text = JSON.writerWithDefaultPrettyPrinter().writeValueAsString(node);
        if (request.api == ApiKeys.FETCH) text += batches((FetchResponseData) answer);
        return text;
    }

    static Message read(ApiKeys api, String json, short version) throws Exception {
        try {
            Message body = (Message) converter(api, "Request").getMethod("read", JsonNode.class, short.class)
                .invoke(null, JSON.readTree(json), version);
            try {
                body.size(new ObjectSerializationCache(), version);    // throws where the version cannot carry a field
            } catch (NullPointerException nullable) {
                throw new org.apache.kafka.common.errors.UnsupportedVersionException("no null in this version");
            }
            return body;
        } catch (java.lang.reflect.InvocationTargetException wrapped) {
            throw (Exception) wrapped.getCause();
        }
    }

    /** {"acks": -1, "topic": name, "topicId": id, "partition": n, "records": n, "codec": name, "magic": 2} */
    static Message produce(String json, short version) throws Exception {
        JsonNode node = JSON.readTree(json);
        List<SimpleRecord> records = new ArrayList<>();
        for (int i = 0; i < node.path("records").asInt(1); i++)
            records.add(new SimpleRecord(1000L + i, ("k" + i).getBytes(), ("v" + i).getBytes()));
        MemoryRecords batch = MemoryRecords.withRecords((byte) 2, 0L, org.apache.kafka.common.compress.Compression.of(
            node.path("codec").asText("none")).build(), TimestampType.CREATE_TIME, node.path("producerId").asLong(-1),
            (short) node.path("producerEpoch").asInt(-1), node.path("sequence").asInt(-1), -1, false,
            records.toArray(new SimpleRecord[0]));
        if (node.path("corrupt").asBoolean()) batch.buffer().put(20, (byte) (batch.buffer().get(20) ^ 1));
        var partition = new ProduceRequestData.PartitionProduceData().setIndex(node.path("partition").asInt()).setRecords(batch);
        var topic = new ProduceRequestData.TopicProduceData().setPartitionData(List.of(partition));
        if (version >= 13) topic.setTopicId(org.apache.kafka.common.Uuid.fromString(node.path("topicId").asText()));
        else topic.setName(node.path("topic").asText());
        var all = new ProduceRequestData.TopicProduceDataCollection();
        all.add(topic);
        return new ProduceRequestData().setAcks((short) node.path("acks").asInt(-1)).setTimeoutMs(5000).setTopicData(all);
    }

    static String batches(FetchResponseData answer) {
        StringBuilder text = new StringBuilder();
        for (var topic : answer.responses())
            for (var partition : topic.partitions())
                if (partition.records() != null)
                    for (var batch : ((Records) partition.records()).batches())
                        text.append(String.format("%nbatch of partition %d: %s..%s epoch %d, producer %d/%d/%d, %s, valid %s",
                            partition.partitionIndex(), batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(),
                            batch.producerId(), batch.producerEpoch(), batch.baseSequence(), batch.compressionType(),
                            batch.isValid()));
        return text.toString();
    }
}
